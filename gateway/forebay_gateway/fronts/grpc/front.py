"""The gateway's handlers behind a `grpc.aio` server."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc

from forebay_gateway.fronts.grpc.context import GrpcContext
from forebay_gateway.fronts.grpc.credentials import server_credentials
from forebay_gateway.fronts.grpc.options import server_options
from forebay_gateway.fronts.grpc.replaced_server import ReplacedServer
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.context import FindHandler

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerTls

_log = logging.getLogger(__name__)


def grpc_front(
    find: FindHandler,
    listen: str,
    limits: FrontLimits,
    *,
    reuse_port: bool,
    tls: ServerTls | None = None,
) -> ReplacedServer:
    """A front that listens on the address; raises RuntimeError if it can't."""
    options = server_options(limits, reuse_port=reuse_port)
    handlers = (_Handlers(find),)

    def make() -> grpc.aio.Server:
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers(handlers)
        return server

    credentials = None if tls is None else partial(server_credentials, tls)
    return ReplacedServer(make, listen, credentials)


class _Handlers(grpc.GenericRpcHandler):
    """Serves messages as bytes, and the requests of every method as a stream.

    gRPC calls a unary handler only after the request has arrived, so RPCs whose callers never send
    it would escape admission.
    """

    def __init__(self, find: FindHandler) -> None:
        self._find = find

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        handler = self._find(handler_call_details.method)

        async def behavior(_: object, context: Any) -> bytes | None:
            try:
                return await handler.serve(GrpcContext(context))
            except grpc.aio.AbortError:
                raise
            except Exception:  # gRPC would send the exception's text
                _log.exception("%s failed", handler_call_details.method)
                await context.abort(grpc.StatusCode.UNKNOWN, "the handler failed")
                raise

        untyped: Callable[..., Any] = behavior
        if handler.streams_responses:
            return grpc.stream_stream_rpc_method_handler(untyped)
        return grpc.stream_unary_rpc_method_handler(untyped)
