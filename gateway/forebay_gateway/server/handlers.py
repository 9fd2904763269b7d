"""The gRPC handlers of a gateway: routed methods, the gateway's own services, and a fallback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import grpc

from forebay.errors import MethodUnknown
from forebay.routes import Method
from forebay_gateway.admin.services import AdminServices
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.status import abort
from forebay_gateway.server.call_handler import CallHandler
from forebay_gateway.server.health import SERVICE as HEALTH_SERVICE
from forebay_gateway.server.health import HealthService
from forebay_gateway.server.own_services import BoundedHandler
from forebay_gateway.server.reflection import reflection_handlers


def gateway_handlers(
    methods: Sequence[Method],
    call_handler: CallHandler,
    health: HealthService,
    admin: AdminServices | None,
    own_reads: MessageReads,
) -> tuple[grpc.GenericRpcHandler, ...]:
    """In the order in which gRPC tries them; `admin` is None without a ledger."""
    admin_services = () if admin is None else admin.services
    own = (
        *(() if admin is None else admin.handlers()),
        health.handler(),
        *reflection_handlers(methods, (*admin_services, HEALTH_SERVICE)),
    )
    return (
        *_routed_handlers(methods, call_handler),
        *(BoundedHandler(handler, own_reads) for handler in own),
        _UnknownMethods(),
    )


def _routed_handlers(
    methods: Sequence[Method], call_handler: CallHandler
) -> Iterator[grpc.GenericRpcHandler]:
    for service in sorted({method.service for method in methods}):
        handlers = {
            method.path.rpartition("/")[2]: call_handler.handler(method)
            for method in methods
            if method.service == service
        }
        yield grpc.method_handlers_generic_handler(service, handlers)


class _UnknownMethods(grpc.GenericRpcHandler):
    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        path = handler_call_details.method

        async def refuse(
            requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
        ) -> None:
            await abort(context, MethodUnknown(f"{path} is not served here"))

        behavior: Callable[..., object] = refuse
        return grpc.stream_stream_rpc_method_handler(behavior)
