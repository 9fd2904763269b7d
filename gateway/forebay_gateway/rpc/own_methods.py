"""Methods of the gateway's own services: parse requests, and turn errors into statuses."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import grpc
from google.protobuf.message import Message

from forebay.errors import ForebayError, InvalidRequest
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.outcomes import gateway_fault
from forebay_gateway.rpc.status import abort, parsed

M = TypeVar("M", bound=Message)

Requests = AsyncIterator[bytes]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class OwnMethod:
    """Like `Handler`, but it gets the requests as an iterator, whose reads are bounded."""

    serve: Callable[[Requests, Context], Awaitable[bytes | None]]
    streams_responses: bool = False


def by_path(service: str, methods: Mapping[str, OwnMethod]) -> dict[str, OwnMethod]:
    """The methods of a service by their paths; `methods` has them by their names."""
    return {f"/{service}/{name}": method for name, method in methods.items()}


def unary(request_class: type[M], serve: Callable[[M, Context], Awaitable[Message]]) -> OwnMethod:
    """A unary method."""

    async def behavior(requests: Requests, context: Context) -> bytes:
        try:
            request = await _only(request_class, requests)
            return (await serve(request, context)).SerializeToString()
        except Exception as error:
            await _fail(context, error)

    return OwnMethod(behavior)


def server_streaming(
    request_class: type[M], serve: Callable[[M, Context], AsyncIterator[Message]]
) -> OwnMethod:
    """A method with one request and many responses."""

    async def behavior(requests: Requests, context: Context) -> None:
        try:
            request = await _only(request_class, requests)
            async for response in serve(request, context):
                await context.write(response.SerializeToString())
        except Exception as error:
            await _fail(context, error)

    return OwnMethod(behavior, streams_responses=True)


def each_answered(request_class: type[M], answer: Callable[[M, Context], Message]) -> OwnMethod:
    """A method with one response for each request."""

    async def behavior(requests: Requests, context: Context) -> None:
        try:
            async for request in requests:
                response = answer(parsed(request_class, request), context)
                await context.write(response.SerializeToString())
        except Exception as error:
            await _fail(context, error)

    return OwnMethod(behavior, streams_responses=True)


def refused(error: ForebayError) -> OwnMethod:
    """A method whose RPCs all fail."""

    async def behavior(requests: Requests, context: Context) -> NoReturn:
        await abort(context, error)

    return OwnMethod(behavior, streams_responses=True)


async def _only(request_class: type[M], requests: Requests) -> M:
    async for request in requests:
        return parsed(request_class, request)
    raise InvalidRequest("the request message is missing: the method takes one")


async def _fail(context: Context, error: Exception) -> NoReturn:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, ForebayError):
        await abort(context, error)
    _log.error("an RPC of the gateway's own services failed", exc_info=error)
    await abort(context, gateway_fault())
