"""A call as it comes in: what the caller asks for, and its requests, checked."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc

from forebay.checks import Check
from forebay.deadline import Deadline
from forebay.errors import DeadlineExceeded, InvalidRequest, TooLarge
from forebay.routes import Method
from forebay_gateway.admission.admission import Permit
from forebay_gateway.rpc.options import CallOptions
from forebay_gateway.rpc.status import parsed

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]


class RequestStream:
    """The requests of an RPC, one by one.

    No generator, neither gRPC's nor ours: one that is left before its end, as here after every
    unary request, costs a task of the event loop to close.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> bytes:
        request: Any = await self._context.read()
        if request is grpc.aio.EOF:
            # gRPC ends a stream that was cut off just like a whole one, a moment before it
            # cancels the RPC. Reading on is to wait for that moment: it ends in the cancellation.
            await self._context.read()
            raise StopAsyncIteration
        return bytes(request)


@dataclass(frozen=True)
class IncomingCall:
    """A call that was not accepted yet.

    `first` is None where the request stream is empty; `rest` are the further
    requests, and raises a `ForebayError` where one, or the end, is wrong.
    """

    method: Method
    options: CallOptions
    deadline: Deadline
    first: bytes | None
    rest: AsyncIterator[bytes]
    permit: Permit

    @property
    def only_attaches(self) -> bool:
        """Whether the caller wants a call that is there already, and no other."""
        named = self.options.call_id is not None
        return bool(self.options.resume_from) or (named and self.first is None)

    @property
    def ephemeral(self) -> bool:
        """Whether the call lives in the gateway's memory: nobody else is to know it."""
        options = self.options
        return self.method.route.ephemeral and options.call_id is None and not options.detach

    @property
    def digest(self) -> str:
        """What tells calls apart that have one id: the SHA-256 of the first request."""
        return hashlib.sha256(self.first or b"").hexdigest()


@dataclass(frozen=True)
class RequestLimits:
    """What bounds the requests of one call."""

    max_message_bytes: int
    first_request_s: float
    request_bytes: Callable[[Method], int]
    """What one call's requests may be in all."""


async def receive(
    method: Method,
    options: CallOptions,
    deadline: Deadline,
    requests: RequestStream,
    check: Check,
    permit: Permit,
    bounds: RequestLimits,
) -> IncomingCall:
    """Reads and checks the first request; raises a `ForebayError` where it is wrong.

    An empty request stream under a caller's id may be an attachment: it is passed on.
    """
    first = await _first(requests, bounds.first_request_s)
    permit.arrived(0 if first is None else len(first))
    if first is not None:
        _check(method, first, check, bounds.max_message_bytes)
        if not method.client_streaming:  # of a stream, the ledger counts what came in all
            limit = bounds.request_bytes(method)
            if len(first) > limit:
                raise TooLarge(f"the request is over the method's limit of {limit} bytes")
            check.end()
    elif options.call_id is None:
        check.end()
        if not method.client_streaming:
            raise InvalidRequest("the request message is missing: the method takes one")
    rest = _rest(method, requests, check, permit, bounds.max_message_bytes)
    return IncomingCall(method, options, deadline, first, rest, permit)


async def _first(requests: RequestStream, within_s: float) -> bytes | None:
    """A caller who sends nothing holds a place, too, so not for long."""
    try:
        async with asyncio.timeout(within_s):
            return await anext(requests, None)
    except TimeoutError:
        raise DeadlineExceeded(
            f"no request came within {within_s:g} s of the call: open a stream when there is "
            "a message for it"
        ) from None


async def _rest(
    method: Method, requests: RequestStream, check: Check, permit: Permit, max_message_bytes: int
) -> AsyncIterator[bytes]:
    """The further requests, each counted from now on; whoever lets go of one counts it off."""
    async for request in requests:
        permit.take(len(request))
        _check(method, request, check, max_message_bytes)
        yield request
    check.end()


def _check(method: Method, request: bytes, check: Check, max_message_bytes: int) -> None:
    if len(request) > max_message_bytes:
        raise TooLarge(
            f"a request message of {len(request)} bytes is over "
            f"this server's limit of {max_message_bytes}"
        )
    check.feed(parsed(method.request_class, request))
