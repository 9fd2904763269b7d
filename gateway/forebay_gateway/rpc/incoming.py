"""An incoming RPC: its options, its deadline and its checked requests."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import Message

from forebay.checks import Check
from forebay.deadline import Deadline
from forebay.errors import DeadlineExceeded, InvalidRequest, TooLarge
from forebay.routes import Method
from forebay_gateway.admission.admission import Permit, TenantAccount
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.rpc.cache_key import CacheKey, cache_key, may_share
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.message_reads import MessageReads
from forebay_gateway.rpc.options import CallOptions, with_request_id
from forebay_gateway.rpc.status import parsed

if TYPE_CHECKING:
    from forebay_backends.telemetry.rpc_span import RpcSpan


class RequestStream:
    """The request messages of an RPC; `count` gets the size of each.

    Iteration raises if the counted bytes are over the quota of the tenant, if there is one.

    This is not an async generator: the event loop needs a task to close a generator that is not
    exhausted, and after a unary request it never is.
    """

    def __init__(
        self,
        context: Context,
        reads: MessageReads,
        caller: str,
        count: Callable[[int], None],
        tenant: TenantAccount | None = None,
    ) -> None:
        self._context = context
        self._reads = reads
        self._caller = caller
        self._count = count
        self._tenant = tenant

    def read_now(self) -> bytes | None:
        """The next request; None if it has not arrived: iterate to wait for it.

        The caller checks the quota of the tenant.
        """
        return self._reads.read_now(self._context, self._caller, self._count)

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> bytes:
        request: Any = await self._reads.read(self._context, self._caller, self._count)
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        if self._tenant is not None and self._tenant.unchecked:
            await self._tenant.check_bytes()
        return bytes(request)


@dataclass(frozen=True)
class IncomingCall:
    """A call that has not been accepted yet.

    `first` is None if the request stream is empty. `rest` yields the further requests; it
    raises a `ForebayError` if one is invalid or the stream ends too early. `span` is None if the
    gateway traces nothing. `cache_key` is None if the call shares no run; `on_joined` is called if
    the call joins another call's run.
    """

    method: Method
    options: CallOptions
    deadline: Deadline
    first: bytes | None
    rest: AsyncIterator[bytes]
    permit: Permit
    meter: CallMeter
    span: RpcSpan | None = None
    cache_key: CacheKey | None = None
    on_joined: Callable[[], None] = lambda: None

    @property
    def is_attach_only(self) -> bool:
        """Whether the caller attaches to an existing call and never starts one."""
        named = self.options.call_id is not None
        return bool(self.options.resume_from) or (named and self.first is None)

    @property
    def ephemeral(self) -> bool:
        """Whether the call gets no record: no other caller can attach to it."""
        options = self.options
        return self.method.route.ephemeral and options.call_id is None and not options.detach

    @property
    def digest(self) -> str:
        """The SHA-256 of the first request: detects another call under the same id."""
        return hashlib.sha256(self.first or b"").hexdigest()


@dataclass(frozen=True)
class RequestLimits:
    """The limits on the requests of one call."""

    max_message_bytes: int
    first_request_s: float
    request_bytes: Callable[[Method], int]
    """The limit on the total size of one call's requests, by method."""


async def receive(
    method: Method,
    options: CallOptions,
    deadline: Deadline,
    requests: RequestStream,
    check: Check,
    permit: Permit,
    limits: RequestLimits,
    meter: CallMeter,
    span: RpcSpan | None = None,
) -> IncomingCall:
    """Reads and checks the first request; raises a `ForebayError` if it is invalid.

    An empty request stream is allowed if the caller names a call id: the RPC attaches to that call.
    """
    first = requests.read_now()
    if first is None:
        first = await _first(requests, limits.first_request_s)
    permit.arrived()
    if first is not None:
        message = _check(method, first, check, limits.max_message_bytes)
        options = with_request_id(options, method, message)
        if not method.client_streaming:  # the ledger checks the total of a request stream
            limit = limits.request_bytes(method)
            if len(first) > limit:
                raise TooLarge(f"the request is over the method's limit of {limit} bytes")
            check.end()
    elif options.call_id is None:
        check.end()
        if not method.client_streaming:
            raise InvalidRequest("the request message is missing: the method takes one")
    rest = _rest(method, requests, check, limits.max_message_bytes)
    return IncomingCall(method, options, deadline, first, rest, permit, meter, span)


async def with_cache_key(
    incoming: IncomingCall, tenant: str, limits: RequestLimits
) -> IncomingCall:
    """The call with its cache key, if it may share a run.

    A call with a request stream shares a run only if the stream has one request, so this waits for
    a second request or the end. Raises a `ForebayError` if the second request is invalid.
    """
    method, first = incoming.method, incoming.first
    if first is None or not may_share(incoming.options):
        return incoming
    key = cache_key(method, incoming.options, first, tenant)
    if key is None or not method.client_streaming:
        return replace(incoming, cache_key=key)
    if len(first) > limits.request_bytes(method):
        return incoming  # the upload refuses the request later
    second = await anext(incoming.rest, None)
    if second is None:
        return replace(incoming, cache_key=key)
    return replace(incoming, rest=_after(second, incoming.rest))


async def _after(request: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield request
    async for one in rest:
        yield one


async def _first(requests: RequestStream, within_s: float) -> bytes | None:
    """Reads the first request, with a timeout: a silent caller must not hold its permit."""
    try:
        async with asyncio.timeout(within_s):
            return await anext(requests, None)
    except TimeoutError:
        raise DeadlineExceeded(
            f"no request came within {within_s:g} s of the call: open a stream when there is "
            "a message for it"
        ) from None


async def _rest(
    method: Method, requests: RequestStream, check: Check, max_message_bytes: int
) -> AsyncIterator[bytes]:
    """Yields the further requests. The permit counts each; the receiver must release it."""
    async for request in requests:
        _check(method, request, check, max_message_bytes)
        yield request
    check.end()


def _check(method: Method, request: bytes, check: Check, max_message_bytes: int) -> Message:
    """Parses and checks the message; raises a `ForebayError` if it is invalid."""
    if len(request) > max_message_bytes:
        raise TooLarge(
            f"a request message of {len(request)} bytes is over "
            f"this server's limit of {max_message_bytes}"
        )
    message = parsed(method.request_class, request)
    check.feed(message)
    return message
