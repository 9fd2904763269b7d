"""The methods that the web front serves: their handlers, and the classes of their messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from forebay_gateway.rpc.context import FindHandler, Handler


@dataclass(frozen=True)
class WebMethod:
    """A method of protobuf and its handler; `path` is `/package.Service/Method`.

    `is_known_safe` is true if it has no side effects although its own option does not say so.
    """

    path: str
    descriptor: MethodDescriptor
    handler: Handler
    is_known_safe: bool = False

    @cached_property
    def request_class(self) -> type[Message]:
        return message_factory.GetMessageClass(self.descriptor.input_type)

    @cached_property
    def response_class(self) -> type[Message]:
        return message_factory.GetMessageClass(self.descriptor.output_type)

    @cached_property
    def client_streaming(self) -> bool:
        return bool(self.descriptor.client_streaming)

    @cached_property
    def server_streaming(self) -> bool:
        return bool(self.descriptor.server_streaming)

    @cached_property
    def no_side_effects(self) -> bool:
        """Whether it may be called by GET."""
        level = self.descriptor.GetOptions().idempotency_level
        return self.is_known_safe or level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


def web_methods(
    services: Iterable[ServiceDescriptor], find: FindHandler, safe: Collection[str] = ()
) -> Mapping[str, WebMethod]:
    """All methods of the services, by path; those of `safe` have no side effects."""
    methods = {}
    for service in services:
        for descriptor in service.methods:
            path = f"/{service.full_name}/{descriptor.name}"
            methods[path] = WebMethod(path, descriptor, find(path), path in safe)
    return methods
