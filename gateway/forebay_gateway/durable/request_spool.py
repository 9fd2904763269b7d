"""Putting a call's requests into the ledger: more are read while earlier ones are being stored.

So a caller who sends fast is not held up by a round trip for every message: what came
meanwhile goes in one. Each is stored by its ordinal, so that a spool that broke off can
be done again, by anyone. Where the handler of a live call has enough to read, what comes
waits here, and then with the caller.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import takewhile

from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Operation, Refusal, Refused
from forebay_backends.ledger.operations.requests import receive
from forebay_backends.ledger.scripts import LEASE_S
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.rpc.incoming import IncomingCall

AHEAD_BYTES = 4 << 20
AHEAD_REQUESTS = 256
"""Another request is read while fewer bytes, and requests, than these are not stored yet."""
_LOOK_EVERY_S = LEASE_S / 3


class RequestSpool:
    """The requests of one call on their way into the ledger, which holds `limit_bytes` of them.

    `room` rings when a handler that had a window of them to read has read it.
    """

    def __init__(
        self,
        call: CallKey,
        incoming: IncomingCall,
        *,
        limit_bytes: int,
        max_message_bytes: int,
        ledger: Ledger,
        ledger_retry: LedgerRetry,
        room: AutoResetEvent,
    ) -> None:
        self._call = call
        self._incoming = incoming
        self._limit_bytes = limit_bytes
        self._max_message_bytes = max_message_bytes
        self._ledger = ledger
        self._ledger_retry = ledger_retry
        self._room = room
        self._waiting: list[bytes] = []
        self._count = 0  # of requests here, waiting or being stored
        self._bytes = 0  # of theirs, as the place counts them
        self._came = AutoResetEvent()
        self._went = AutoResetEvent()

    async def store(self) -> int | Refused:
        """Stores all requests, to the end of their stream; how many they were.

        Raises what the stream raises, at once: what is not stored by then never is.
        """
        reading = asyncio.create_task(self._read())
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            ordinal = 0
            while requests := await self._ledger_retry.unless_draining(
                self._call, self._next(reading)
            ):
                refused = await self._store(ordinal, requests)
                if refused is not None:
                    return refused
                # The place counts the first one until the call's end.
                self._count_off(requests if ordinal else requests[1:])
                ordinal += len(requests)
            return ordinal
        finally:
            reading.cancel()
            self._incoming.permit.hold(-self._bytes)

    async def _read(self) -> None:
        """Reads ahead as far as there is room."""
        try:
            if self._incoming.first is not None:
                self._waiting.append(self._incoming.first)
            async for request in self._incoming.rest:
                self._waiting.append(request)
                self._count += 1
                self._bytes += len(request)
                self._came.set()
                while not self._has_room():
                    await self._went.wait()
        finally:
            self._came.set()

    def _has_room(self) -> bool:
        if self._count == 0:
            return True
        few = self._count < AHEAD_REQUESTS and self._bytes < AHEAD_BYTES
        return few and self._incoming.permit.has_room(self._max_message_bytes)

    def _count_off(self, requests: list[bytes]) -> None:
        size = sum(map(len, requests))
        self._count -= len(requests)
        self._bytes -= size
        self._incoming.permit.hold(-size)
        self._went.set()

    async def _next(self, reading: asyncio.Task[None]) -> list[bytes]:
        """What has come since, or comes next; nothing at the end of the stream."""
        while not (self._waiting or reading.done()):
            await self._came.wait()
        if reading.done():
            reading.result()
        requests, self._waiting = self._waiting, []
        return requests

    async def _store(self, first: int, requests: list[bytes]) -> Refused | None:
        operations: list[Operation[Refused | None]] = [
            receive(self._call, ordinal, request, self._limit_bytes)
            for ordinal, request in enumerate(requests, first)
        ]
        while operations:
            answers = await self._ledger_retry.retry(partial(self._ledger.run_all, operations))
            stored = len(list(takewhile(lambda answer: answer is None, answers)))
            refused = answers[stored] if stored < len(answers) else None
            operations = operations[stored:]
            if refused == Refused(Refusal.FULL):
                # What rings may have been lost.
                await self._ledger_retry.unless_draining(self._call, self._room.wait(_LOOK_EVERY_S))
            elif refused is not None and not stored:
                return refused
            # Else one may have been asked again, after those that build on it were refused.
        return None
