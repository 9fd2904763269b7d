"""Methods that return an operation: `google.longrunning.operation_info`, and `request_id`. Pure.

https://google.aip.dev/151 and https://google.aip.dev/155. A method with `operation_info` returns
`google.longrunning.Operation` as soon as its call is accepted. Its handler returns the
`response_type` instead, and may yield messages of the `metadata_type` before.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from google.api import field_info_pb2

# Without the generated stub, which would import grpc.
from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from forebay.metadata import CALL_ID_FORM
from forebay.routes.descriptor_conflicts import with_dependencies
from forebay.routes.fields import suggestion
from forebay.routes.route import Route
from forebay.v1 import route_pb2

OPERATION = "google.longrunning.Operation"
REQUEST_ID = "request_id"

_UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class OperationTypes:
    """The types of a method's operations, and whether its request has a `request_id`."""

    response_class: type[Message]
    metadata_class: type[Message]
    has_request_id: bool = False
    request_id_is_uuid4: bool = False

    @property
    def messages(self) -> tuple[Descriptor, Descriptor]:
        """The messages of the response and of the metadata."""
        return (
            cast(Descriptor, self.response_class.DESCRIPTOR),
            cast(Descriptor, self.metadata_class.DESCRIPTOR),
        )

    def request_id(self, request: Message) -> str:
        """The request's `request_id`, a UUID in lower case; empty if there is none.

        Raises ValueError, which says what was expected, if it can't be the id of a call.
        """
        given: str = getattr(request, REQUEST_ID) if self.has_request_id else ""
        if not given:
            return ""
        if self.request_id_is_uuid4:
            given = given.lower()
            if not _UUID4.fullmatch(given):
                raise ValueError("expected a UUID of version 4")
        elif not CALL_ID_FORM.fullmatch(given):
            raise ValueError("expected 1 to 128 of A-Z a-z 0-9 . _ : -")
        return given


def read_operation(method: MethodDescriptor) -> OperationTypes | None:
    """The types that the method declares; None if it declares none, or `operation_problems`."""
    info = _info(method)
    if info is None or method.output_type.full_name != OPERATION:
        return None
    response = _find(method, info.response_type)
    metadata = _find(method, info.metadata_type)
    if response is None or metadata is None:
        return None
    field = method.input_type.fields_by_name.get(REQUEST_ID)
    is_id = field is not None and _is_text(field)
    return OperationTypes(
        message_factory.GetMessageClass(response),
        message_factory.GetMessageClass(metadata),
        has_request_id=is_id,
        request_id_is_uuid4=is_id and field is not None and _is_uuid4(field),
    )


def operation_problems(
    method: MethodDescriptor, option: route_pb2.Route, route: Route
) -> Iterator[str]:
    """Everything that is wrong with a method that has `operation_info`, and with its route."""
    info = _info(method)
    if info is None:
        return
    if method.output_type.full_name != OPERATION:
        yield (
            f"it has `operation_info`, but returns {method.output_type.full_name}; return "
            f"{OPERATION}, or remove the option"
        )
        return
    if method.client_streaming or method.server_streaming:
        yield "a method with `operation_info` has one request and one response; remove `stream`"
    yield from _type_problems(method, "response_type", info.response_type)
    yield from _type_problems(method, "metadata_type", info.metadata_type)
    yield from _request_id_problems(method)
    yield from _policy_problems(option, route)


def _type_problems(method: MethodDescriptor, option: str, name: str) -> Iterator[str]:
    if not name:
        yield (
            f"`operation_info` has no `{option}`; set the name of a message, or "
            '"google.protobuf.Empty"'
        )
    elif _find(method, name) is None:
        file = method.containing_service.file
        hint = suggestion(name, file.message_types_by_name)
        yield (
            f"`operation_info.{option}` is {name!r}, which is not a message of {file.name} or of a "
            f"file that it imports{hint or '; import its file, and write its package before it'}"
        )


def _request_id_problems(method: MethodDescriptor) -> Iterator[str]:
    field = method.input_type.fields_by_name.get(REQUEST_ID)
    if field is not None and not _is_text(field):
        yield (
            f"{field.full_name} is the id of the call, so it must be a single string; change its "
            "type, or rename it"
        )


def _policy_problems(option: route_pb2.Route, route: Route) -> Iterator[str]:
    if route.plain is not None:
        yield (
            "a `plain` task can't have `operation_info`: its calls have no record, so nothing "
            "could be said of the operation later; remove `plain`, or the option"
        )
    if route.ephemeral:
        yield "`ephemeral` is not for methods with `operation_info`: an operation has a record"
    if route.cache is not None:
        yield "`cache` is not for methods with `operation_info`: each has its own; remove it"
    if option.on_disconnect == route_pb2.ON_DISCONNECT_CANCEL:
        yield (
            "`on_disconnect` of CANCEL is not for methods with `operation_info`: their callers "
            "leave when they have the operation; remove it"
        )
    if route.caller_chooses_on_disconnect:
        yield (
            "`caller_chooses_on_disconnect` is not for methods with `operation_info`, whose calls "
            "continue without their caller; remove it"
        )
    if route.limits.linger_s is not None:
        yield (
            "`limits.linger` is not for methods with `operation_info`, whose calls continue "
            "without their caller; remove it"
        )


def _info(method: MethodDescriptor) -> operations_pb2.OperationInfo | None:
    options = method.GetOptions()
    if not options.HasExtension(operations_pb2.operation_info):
        return None
    info: operations_pb2.OperationInfo = options.Extensions[operations_pb2.operation_info]
    return info


def _find(method: MethodDescriptor, name: str) -> Descriptor | None:
    """The message of that name, which is one in the method's package or has its package with it.

    Only the files that the method's file imports are searched, also indirectly. So gateways and
    workers find the same one, whatever else they have loaded, and reflection can show it.
    """
    file = method.containing_service.file
    reachable = {one.name for one in with_dependencies([file])}
    for full_name in (f"{file.package}.{name}", name):
        try:
            found: Descriptor = file.pool.FindMessageTypeByName(full_name.strip("."))
        except KeyError:
            continue
        if found.file.name in reachable:
            return found
    return None


def _is_text(field: FieldDescriptor) -> bool:
    return field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated


def _is_uuid4(field: FieldDescriptor) -> bool:
    info = field.GetOptions().Extensions[field_info_pb2.field_info]
    return bool(info.format == field_info_pb2.FieldInfo.UUID4)
