"""Stores a call's request stream in the ledger, reading ahead while earlier requests are stored.

So a fast caller does not wait for a round trip for every message: all requests that arrive during
one round trip are stored in the next. Each request is stored by its ordinal, so another RPC can
repeat a spool that was interrupted. If the handler of a live call has a full window of requests to
read, further requests wait in the gateway, up to `READ_AHEAD_BYTES`, and then at the caller.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import takewhile

from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.base import Operation, Refusal, Refused
from forebay_backends.ledger.operations.requests import receive
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watch import Watch
from forebay_gateway.durable.watches import LEASE_CHECK_INTERVAL_S
from forebay_gateway.rpc.incoming import IncomingCall

READ_AHEAD_BYTES = 4 << 20
READ_AHEAD_REQUESTS = 256
"""The spool reads another request while fewer bytes, and requests, than these are unstored."""


class RequestSpool:
    """The requests of one RPC on their way into the ledger.

    The ledger holds up to `limit_bytes` of them.
    """

    def __init__(
        self,
        watch: Watch,
        incoming: IncomingCall,
        *,
        limit_bytes: int,
        max_message_bytes: int,
        ledger: Ledger,
        ledger_retry: LedgerRetry,
    ) -> None:
        self._watch = watch
        self._incoming = incoming
        self._limit_bytes = limit_bytes
        self._max_message_bytes = max_message_bytes
        self._ledger = ledger
        self._ledger_retry = ledger_retry
        self._arrived: list[bytes] = []
        # Requests after the first that arrived or are being stored; the permit counts their bytes.
        self._unstored_count = 0
        self._unstored_bytes = 0
        self._has_arrived = AutoResetEvent()
        self._has_stored = AutoResetEvent()

    async def store(self) -> int | Refused:
        """Stores all requests, to the end of their stream, and returns how many they were.

        Raises an error of the stream at once; requests that are not stored by then are dropped.
        """
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            ordinal = 0
            while requests := await self._ledger_retry.unless_draining(
                self._watch.call, self._next_requests(reading)
            ):
                refused = await self._store(ordinal, requests)
                if refused is not None:
                    return refused
                # The permit counts the first request until the call's end.
                self._on_stored(requests if ordinal else requests[1:])
                ordinal += len(requests)
            return ordinal
        finally:
            reading.cancel()
            self._incoming.permit.hold(-self._unstored_bytes)

    async def _read(self) -> None:
        try:
            if self._incoming.first is not None:
                self._arrived.append(self._incoming.first)
            async for request in self._incoming.rest:
                self._arrived.append(request)
                self._unstored_count += 1
                self._unstored_bytes += len(request)
                self._has_arrived.set()
                while not self._has_room():
                    await self._has_stored.wait()
        finally:
            self._has_arrived.set()

    def _has_room(self) -> bool:
        if self._unstored_count == 0:
            return True
        if self._unstored_count >= READ_AHEAD_REQUESTS or self._unstored_bytes >= READ_AHEAD_BYTES:
            return False
        return self._incoming.permit.has_room(self._max_message_bytes)

    def _on_stored(self, requests: list[bytes]) -> None:
        size = sum(map(len, requests))
        self._unstored_count -= len(requests)
        self._unstored_bytes -= size
        self._incoming.permit.hold(-size)
        self._has_stored.set()

    async def _next_requests(self, reading: asyncio.Task[None]) -> list[bytes]:
        """Waits for at least one request; empty at the end of the stream."""
        while not (self._arrived or reading.done()):
            await self._has_arrived.wait()
        if reading.done():
            reading.result()
        requests, self._arrived = self._arrived, []
        return requests

    async def _store(self, first: int, requests: list[bytes]) -> Refused | None:
        call, seal = self._watch.call, self._ledger.seals.input
        operations: list[Operation[Refused | None]] = [
            receive(call, ordinal, seal(call, ordinal, request), self._limit_bytes)
            for ordinal, request in enumerate(requests, first)
        ]
        while operations:
            replies = await self._ledger_retry.retry(partial(self._ledger.run_all, operations))
            stored = len(list(takewhile(lambda reply: reply is None, replies)))
            refused = replies[stored] if stored < len(replies) else None
            operations = operations[stored:]
            if refused == Refused(Refusal.FULL):
                # With a timeout, since pub/sub may lose the event.
                window_open = self._watch.request_window_open.wait(LEASE_CHECK_INTERVAL_S)
                await self._ledger_retry.unless_draining(self._watch.call, window_open)
            elif refused is not None and not stored:
                return refused
            # A refusal after a success is retried: if an operation ran late (NOSCRIPT), the
            # ledger has refused the operations behind it, although their order was right.
        return None
