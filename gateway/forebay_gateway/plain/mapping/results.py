"""Maps the result of a Celery task to response messages. Pure.

For example, the number 5 fills a message whose only field is a number, and a list of lists fills a
repeated message with one repeated number: at every level, a value that has no keys named as the
message's fields fills its only field. Keys without a field are skipped if another key has
one, and None leaves a field unset. `docs/plain-tasks.md` has the table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from forebay.routes import Method
from forebay.routes.plain import PlainTask
from forebay.routes.plain_forms import message_form
from forebay.v1.plain_pb2 import PLAIN_SHAPE_LIST, PLAIN_SHAPE_VALUE
from forebay_gateway.plain.mapping.celery_json import Unreadable, kind, read_json
from forebay_gateway.plain.mapping.scalars import Unfit, scalar
from forebay_gateway.plain.mapping.well_known import WELL_KNOWN


def responses(result: Any, method: Method) -> Iterator[Message]:
    """The responses of a result: one for a unary method, any number for a streaming one.

    Raises Unfit; before the first response if the result as a whole has the wrong shape.
    """
    plain = method.route.plain
    assert plain is not None  # noqa: S101  # such calls are of plain routes
    value = _unwrapped(result, plain)
    if not method.server_streaming:
        yield response(value, method, plain.result)
    elif isinstance(value, list) and not _takes_lists(method, plain):
        for index, element in enumerate(value):
            yield response(element, method, plain.result, f"[{index}]")
    elif value is not None:
        yield response(value, method, plain.result)


def response(value: Any, method: Method, field: str = "", path: str = "") -> Message:
    """A response with the value in `field` or, without that, in its fields; raises Unfit."""
    message = method.response_class()
    descriptor: Any = message.DESCRIPTOR
    try:
        if field and value is not None:
            _fill_field(message, descriptor.fields_by_name[field], value, path)
        elif value is not None:
            fill(message, value, path)
    except RecursionError:
        raise Unfit(path, "it is nested too deeply") from None
    if not message.IsInitialized():
        raise Unfit(path, f"a required field of {message.DESCRIPTOR.full_name} is missing")
    return message


def fill(message: Message, value: Any, path: str = "") -> None:
    """Sets the message's fields; raises Unfit."""
    descriptor: Any = message.DESCRIPTOR
    well_known = WELL_KNOWN.get(descriptor.full_name)
    shape = message_form(descriptor).shape
    if well_known is not None:
        well_known(message, value, path)
    elif shape == PLAIN_SHAPE_VALUE:
        _fill_field(message, descriptor.fields[0], value, path)
    elif shape == PLAIN_SHAPE_LIST and isinstance(value, list):
        _fill_in_order(message, value, path)
    elif isinstance(value, dict) and (not value or _names_a_field(value, descriptor)):
        _fill_fields(message, value, path)
    else:
        _fill_field(message, _only_field(descriptor, value, path), value, path)
    message.SetInParent()


def _unwrapped(result: Any, plain: PlainTask) -> Any:
    if not plain.json_text or result is None:
        return result
    if not isinstance(result, str):
        raise Unfit("", f"`json_text` needs a string that is JSON; got {kind(result)}")
    try:
        return read_json(result)
    except Unreadable as error:
        raise Unfit("", f"`json_text` needs a string that is JSON; {error}") from error


def _takes_lists(method: Method, plain: PlainTask) -> bool:
    fields = method.response_class.DESCRIPTOR.fields_by_name
    return bool(plain.result) and fields[plain.result].is_repeated


def _only_field(descriptor: Descriptor, value: Any, path: str) -> FieldDescriptor:
    if len(descriptor.fields) != 1:
        if isinstance(value, dict):
            raise Unfit(path, f"none of its keys is a field of {descriptor.full_name}")
        raise Unfit(
            path,
            f"expected an object with the fields of {descriptor.full_name} as keys; "
            f"got {kind(value)} (does the route name the `result` field?)",
        )
    return descriptor.fields[0]


def _names_a_field(value: Mapping[str, Any], descriptor: Descriptor) -> bool:
    keys = message_form(descriptor).by_key
    return any(key in keys for key in value)


def _fill_fields(message: Message, value: Mapping[str, Any], path: str) -> None:
    descriptor: Any = message.DESCRIPTOR
    of_oneof: dict[str, str] = {}
    keys = message_form(descriptor).by_key
    for key, inner in value.items():
        if key not in keys:
            continue
        field = keys[key].field
        oneof = field.containing_oneof
        if oneof is not None and inner is not None:
            other = of_oneof.setdefault(oneof.name, field.name)
            if other != field.name:
                raise Unfit(path, f"expected one of {other!r} and {field.name!r}; got both")
        _fill_field(message, field, inner, f"{path}.{field.name}")


def _fill_in_order(message: Message, values: list[Any], path: str) -> None:
    fields = message_form(message.DESCRIPTOR).fields
    if len(values) != len(fields):
        raise Unfit(path, f"expected a list of {len(fields)} elements; got {len(values)}")
    for index, form in enumerate(fields):
        _fill_field(message, form.field, values[index], f"{path}[{index}]")


def _fill_field(message: Message, field: FieldDescriptor, value: Any, path: str) -> None:
    if value is None and not _takes_null(field):
        return
    target = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        _fill_map(target, field.message_type, value, path)
    elif field.is_repeated:
        _fill_list(target, field, value, path)
    elif field.message_type is not None:
        fill(target, value, path)
    else:
        setattr(message, field.name, scalar(field, value, path))


def _takes_null(field: FieldDescriptor) -> bool:
    wanted = field.message_type
    return wanted is not None and wanted.full_name == "google.protobuf.Value"


def _fill_list(target: Any, field: FieldDescriptor, value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise Unfit(path, f"expected a list; got {kind(value)}")
    for index, element in enumerate(value):
        here = f"{path}[{index}]"
        if field.message_type is not None:
            fill(target.add(), element, here)
        else:
            target.append(scalar(field, element, here))


def _fill_map(target: Any, entry: Descriptor, value: Any, path: str) -> None:
    if not isinstance(value, dict):
        raise Unfit(path, f"expected an object; got {kind(value)}")
    keys, values = entry.fields_by_name["key"], entry.fields_by_name["value"]
    for name, inner in value.items():
        key = scalar(keys, _key(keys, name), f"{path}'s keys")
        if values.message_type is not None:
            fill(target[key], inner, f"{path}.{key}")
        else:
            target[key] = scalar(values, inner, f"{path}.{key}")


def _key(field: FieldDescriptor, name: str) -> str | bool:
    """A key of an object, all of which are strings in JSON."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return {"true": True, "false": False}.get(name, name)
    return name
