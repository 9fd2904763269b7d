"""gRPC handlers of the admin services: parse requests, and turn errors into statuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from forebay.errors import ForebayError
from forebay_gateway.rpc.message_reads import Context
from forebay_gateway.rpc.outcomes import gateway_fault
from forebay_gateway.rpc.status import abort, parsed

M = TypeVar("M", bound=Message)

_log = logging.getLogger(__name__)


def unary(
    request_class: type[M], serve: Callable[[M, Context], Awaitable[Message]]
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler of a unary method."""

    async def behavior(request: bytes, context: Context) -> bytes:
        try:
            return (await serve(parsed(request_class, request), context)).SerializeToString()
        except Exception as error:
            await _fail(context, error)

    return grpc.unary_unary_rpc_method_handler(behavior)


def streaming(
    request_class: type[M], serve: Callable[[M, Context], AsyncIterator[Message]]
) -> grpc.RpcMethodHandler[Any, Any]:
    """The handler of a method with one request and many responses."""

    async def behavior(request: bytes, context: Context) -> None:
        try:
            async for response in serve(parsed(request_class, request), context):
                await context.write(response.SerializeToString())
        except Exception as error:
            await _fail(context, error)

    return grpc.unary_stream_rpc_method_handler(behavior)


async def _fail(context: Context, error: Exception) -> NoReturn:
    if isinstance(error, ForebayError):
        await abort(context, error)
    _log.error("an RPC of the admin services failed", exc_info=error)
    await abort(context, gateway_fault())
