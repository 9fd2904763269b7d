"""The requests of a call whose handler is a coroutine.

A read that is cancelled, for example by `asyncio.wait_for`, loses no request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, Protocol

import grpc.aio
from google.protobuf.message import Message

from forebay.checks import Check
from forebay.errors import ForebayError, ItemsLost
from forebay.routes import Method
from forebay_backends.ledger.operations.attempts import Begun
from forebay_backends.ledger.operations.base import Refused as LedgerRefused
from forebay_backends.ledger.operations.requests import take_requests
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.ledger import LoopLedger
from forebay_workers.handler.context import POLL_INTERVAL_S
from forebay_workers.handler.interrupted import Interrupted, Refused, Stopped
from forebay_workers.handler.invoke import parsed
from forebay_workers.handler.requests import PAGE_SIZE


class Source(Protocol):
    """Where a call's request messages come from."""

    async def next(self) -> bytes | None:
        """The next one; None after the last. Raises Stopped if the call has ended."""

    def close(self) -> None:
        """Stops reading ahead."""


class SingleRequest:
    """The request of a method that has a single request."""

    def __init__(self, request: bytes) -> None:
        self._request: bytes | None = request

    async def next(self) -> bytes | None:
        """See `Source`."""
        request, self._request = self._request, None
        return request

    def close(self) -> None:
        """Does nothing."""


class StoredRequests:
    """A durable call's requests, all of which are in the ledger. Reads a page ahead."""

    def __init__(self, ledger: LoopLedger, call: CoroutineCall, count: int) -> None:
        self._ledger = ledger
        self._call = call
        self._count = count
        self._read = 0
        self._page: deque[bytes] = deque()
        self._ahead: asyncio.Task[list[bytes]] | None = None

    async def next(self) -> bytes | None:
        """See `Source`."""
        if not self._page and self._read < self._count:
            self._page.extend(await self._next_page())
        return self._page.popleft() if self._page else None

    async def _next_page(self) -> list[bytes]:
        reading = self._ahead or self._reading()
        self._ahead = reading  # kept in case this read is cancelled
        try:
            page = await asyncio.shield(reading)
        except ItemsLost as error:
            raise Refused(error) from error
        if not page:
            raise Stopped  # the ledger deletes a call's requests when the call ends
        self._read += len(page)
        self._ahead = self._reading() if self._read < self._count else None
        return page

    def _reading(self) -> asyncio.Task[list[bytes]]:
        return asyncio.create_task(self._ledger.inputs(self._call.call, self._read, PAGE_SIZE))

    def close(self) -> None:
        """See `Source`."""
        if self._ahead is not None:
            self._ahead.cancel()


class LiveRequests:
    """A live call's requests, as they arrive.

    A message counts as read when the handler takes the next one. The requests end early when the
    handler has returned.
    """

    def __init__(self, ledger: LoopLedger, call: CoroutineCall) -> None:
        self._ledger = ledger
        self._call = call
        self._taken: deque[bytes] = deque()
        self._ordinal = self._read_bytes = 0
        self._total: int | None = None

    async def next(self) -> bytes | None:
        """See `Source`."""
        while not self._taken:
            if self._ordinal == self._total or self._call.has_finished():
                return None
            await self._take()
        sealed = self._taken[0]
        try:
            request = self._ledger.seals.open_input(self._call.call, self._ordinal, sealed)
        except ItemsLost as error:
            raise Refused(error) from error
        self._taken.popleft()
        self._ordinal, self._read_bytes = self._ordinal + 1, self._read_bytes + len(sealed)
        return request

    async def _take(self) -> None:
        call = self._call
        notices = call.request_notices
        asked = take_requests(call.call, call.attempt, self._ordinal, self._read_bytes)
        taken = await self._ledger.run(asked)
        if isinstance(taken, LedgerRefused):
            if call.has_finished():
                return
            call.stop(taken.why)
            raise Stopped
        if taken.total is not None:
            try:
                self._ledger.seals.check_requests_end(call.call, taken.total, taken.end)
            except ItemsLost as error:
                raise Refused(error) from error
        self._taken.extend(taken.requests)
        self._total = taken.total
        is_waiting = not taken.requests and self._ordinal != taken.total
        if is_waiting and notices == call.request_notices and call.stopped is None:
            await call.wait_for_change(POLL_INTERVAL_S)

    def close(self) -> None:
        """Does nothing."""


def requests_of(ledger: LoopLedger, call: CoroutineCall, begun: Begun) -> Source:
    """The requests of a durable call that has begun."""
    if begun.live:
        return LiveRequests(ledger, call)
    if begun.inputs is None:
        return SingleRequest(begun.request)
    return StoredRequests(ledger, call, begun.inputs)


class CheckedRequests:
    """Parses and checks requests; the handler's context reads them here.

    Every read raises Interrupted after the call has ended or a check has failed.
    """

    def __init__(self, method: Method, source: Source, check: Check) -> None:
        self._method = method
        self._source = source
        self._check = check
        self._lock = asyncio.Lock()
        self._has_ended = False
        self._interrupted: Interrupted | None = None

    async def read(self) -> Message | Any:
        """The next request; `grpc.aio.EOF` after the last."""
        async with self._lock:
            if self._interrupted is not None:
                raise self._interrupted
            if self._has_ended:
                return grpc.aio.EOF
            try:
                return await self._next()
            except Interrupted as interrupted:
                self._interrupted = interrupted
                raise

    def close(self) -> None:
        """Stops reading ahead."""
        self._source.close()

    async def _next(self) -> Message | Any:
        request = await self._source.next()
        if request is not None:
            return parsed(self._method, request, self._check)
        self._has_ended = True
        try:
            self._check.end()
        except ForebayError as error:
            raise Refused(error) from error
        return grpc.aio.EOF


class RequestStream:
    """The asynchronous iterator over requests that a handler receives."""

    def __init__(self, read: Any) -> None:
        self._read = read

    def __aiter__(self) -> RequestStream:
        return self

    async def __anext__(self) -> Any:
        request = await self._read()
        if request is grpc.aio.EOF:
            raise StopAsyncIteration
        return request
