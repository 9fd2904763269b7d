"""The web front in a thread of its own, with the handlers that the other fronts are tested with.

Their messages are bytes; here they are `test.Message`, whose descriptor is made at run time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

from forebay_gateway.admin_server.listener import LIMITS, AdminListener
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.context import Context, FindHandler, Handler
from forebay_gateway.rpc.context_wrapper import ContextWrapper
from forebay_gateway.tls.server_tls import ServerTls
from forebay_gateway.web.application import application
from forebay_gateway.web.connection import ConnectionLimits
from forebay_gateway.web.listener import WebListener
from forebay_gateway.web.methods import web_methods
from forebay_gateway.web.security import Policy
from tests.contract.fronts import site as fronts

STREAMS = ("Count", "HangAfter", "Flood", "Nothing")
UNARY = ("Echo", "Headers", "Abort", "Hang", "Fail", "Silent", "Big")
POLICY = Policy(frozenset({"calls.example"}), ("https://app.example",))


def _service() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="test/web.proto", package="test")
    message = file.message_type.add(name="Message")
    field = descriptor_pb2.FieldDescriptorProto
    for number, (name, kind) in enumerate(
        {"data": field.TYPE_BYTES, "text": field.TYPE_STRING, "again": field.TYPE_MESSAGE}.items()
    ):
        repeated = kind == field.TYPE_MESSAGE
        message.field.add(
            name=name,
            number=number + 1,
            type=kind,
            label=field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL,
            type_name=".test.Message" if repeated else None,
        )
    service = file.service.add(name="Service")
    for name in (*UNARY, *STREAMS, "Sum", "Chat"):
        service.method.add(
            name=name,
            input_type=".test.Message",
            output_type=".test.Message",
            server_streaming=name in (*STREAMS, "Chat"),
            client_streaming=name in ("Sum", "Chat"),
            options=descriptor_pb2.MethodOptions(
                idempotency_level="NO_SIDE_EFFECTS" if name in ("Echo", "Hang") else None
            ),
        )
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName(fronts.SERVICE)


SERVICE = _service()
Message: Any = message_factory.GetMessageClass(SERVICE.methods_by_name["Echo"].input_type)


class _Unwrapped(ContextWrapper):
    """The context of an RPC of `test.Message`, as one of bytes."""

    __slots__ = ()

    async def read(self) -> object:
        message = await self._context.read()
        return Message.FromString(message).data if isinstance(message, bytes) else message

    async def write(self, message: bytes) -> None:
        await self._context.write(_wrapped(message))


def _wrapped(data: bytes) -> bytes:
    wrapped: bytes = Message(data=data).SerializeToString()
    return wrapped


def _finder(find: FindHandler) -> FindHandler:
    def found(path: str) -> Handler:
        handler = find(path)

        async def serve(context: Context) -> bytes | None:
            response = await handler.serve(_Unwrapped(context))
            return None if response is None else _wrapped(response)

        return Handler(serve, handler.streams_responses)

    return found


class WebFront(WebListener):
    """The listener as a `Front`."""

    async def keep_serving(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, grace_s: float = 0) -> None:
        await super().stop()


class AdminFront(AdminListener):
    """The operators' port as a `Front`."""

    async def keep_serving(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, grace_s: float = 0) -> None:
        await super().stop()


@contextmanager
def web_site(
    tls: ServerTls | None = None, policy: Policy = POLICY, **limits: Any
) -> Iterator[fronts.Site]:
    """`limits` are those of connections."""
    allowed: dict[str, Any] = {"max_connections": 200, "request_s": 20.0, **limits}

    def make(find: FindHandler, front_limits: FrontLimits) -> WebFront:
        app = application(web_methods([SERVICE], _finder(find)), front_limits, policy)
        return WebFront(
            *("127.0.0.1:0", app, ConnectionLimits(**allowed)),
            reuse_port=False,
            grace_s=1.0,
            tls=None if tls is None else lambda: tls.current.web_context,
        )

    with fronts.serving("web", make=make) as site:
        yield site


@contextmanager
def admin_site(**limits: Any) -> Iterator[fronts.Site]:
    """The operators' port, with the same application."""

    def make(find: FindHandler, front_limits: FrontLimits) -> AdminFront:
        app = application(web_methods([SERVICE], _finder(find)), front_limits, POLICY)
        return AdminFront("127.0.0.1:0", app, lambda request: (), replace(LIMITS, **limits))

    with fronts.serving("web", make=make) as site:
        yield site
