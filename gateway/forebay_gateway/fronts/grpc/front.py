"""The gateway's handlers behind `grpc.aio` servers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc

from forebay.metadata import Pairs
from forebay_gateway.fronts.grpc.options import server_options
from forebay_gateway.fronts.grpc.server_pool import SERVERS, ServerPool
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.context import FindHandler

_UNWINDING_CHECK_S = 0.05
_LEAST_CONNECTIONS = 16
"""Of one server: Linux spreads connections over the servers at random."""

_log = logging.getLogger(__name__)


def grpc_front(
    find: FindHandler, listen: str, limits: FrontLimits, *, reuse_port: bool
) -> ServerPool:
    """Raises RuntimeError if it can't listen on the address."""
    most = max(1, min(SERVERS, limits.max_connections // _LEAST_CONNECTIONS))
    servers = most if reuse_port else 1
    options = server_options(
        limits, reuse_port=reuse_port, max_connections=limits.max_connections // servers
    )
    handlers = (_Handlers(find),)

    def make() -> grpc.aio.Server:
        server = grpc.aio.server(options=options)
        server.add_generic_rpc_handlers(handlers)
        return server

    return ServerPool(make, listen, count=servers)


class GrpcContext:
    """Implements `Context` by gRPC's own; made in the RPC's task.

    `grpc.aio` raises InternalError or UsageError where something is sent to a caller that has
    disconnected, and cancels the task a moment later.
    """

    __slots__ = ("_context", "_rpc")

    def __init__(self, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        self._context = context
        self._rpc = asyncio.current_task()

    def peer(self) -> str:
        return self._context.peer()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._context.auth_context()

    def invocation_metadata(self) -> Any:
        return self._context.invocation_metadata()

    def time_remaining(self) -> float | None:
        return self._context.time_remaining()

    async def read(self) -> object:
        message: object = await self._context.read()
        if message is grpc.aio.EOF:
            await self._raise_if_broken()
        return message

    async def send_initial_metadata(self, pairs: Pairs) -> None:
        try:
            await self._context.send_initial_metadata(tuple(pairs))
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    async def write(self, message: bytes) -> None:
        try:
            await self._context.write(message)
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    def set_trailing_metadata(self, pairs: Pairs) -> None:
        self._context.set_trailing_metadata(tuple(pairs))

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Pairs = ()
    ) -> NoReturn:
        try:
            await self._context.abort(code, details, tuple(trailing_metadata))
        except grpc.aio.AbortError:
            raise
        except grpc.aio.BaseError as error:
            raise self._disconnected(error) from error

    async def _raise_if_broken(self) -> None:
        """Waits for the cancellation of this read where the stream broke.

        gRPC reports the end of a stream that broke like that of a complete one, shortly before
        it cancels the RPC's task. By the end of a second read it has. That task may take a while
        to cancel a task of its own that reads here.
        """
        await self._context.read()
        while self._rpc is not None and self._rpc.cancelling():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(_UNWINDING_CHECK_S)

    def _disconnected(self, error: grpc.aio.BaseError) -> BaseException:
        is_gone = isinstance(error, grpc.aio.InternalError) or self._context.cancelled()
        return asyncio.CancelledError() if is_gone else error


class _Handlers(grpc.GenericRpcHandler):
    """Messages are bytes, and requests are a stream.

    gRPC calls a unary handler only once the request is there, so that RPCs whose callers never
    send it would escape admission.
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
            except Exception:  # gRPC would send its text
                _log.exception("%s failed", handler_call_details.method)
                await context.abort(grpc.StatusCode.UNKNOWN, "the handler failed")
                raise

        untyped: Callable[..., Any] = behavior
        if handler.streams_responses:
            return grpc.stream_stream_rpc_method_handler(untyped)
        return grpc.stream_unary_rpc_method_handler(untyped)
