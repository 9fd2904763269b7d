"""The ledger as coroutine handlers use it: on their event loop, pipelined, with retries."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.commands import consecutive
from forebay_backends.ledger.errors import RETRY_DELAY_S, RETRY_FOR_S
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.large_messages import LARGE_ABOVE_BYTES
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.ledger.seals import Seals
from forebay_workers.handler.ledger_retry import LedgerUnavailable, outage

T = TypeVar("T")


class LoopLedger:
    """Operations that wait at the same time share round trips. The owner closes the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pipeliner = Pipeliner(ledger)

    @property
    def seals(self) -> Seals:
        """Signs and verifies what the ledger stores."""
        return self._ledger.seals

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation, twice at the most; raises LedgerUnavailable."""
        if operation.size > LARGE_ABOVE_BYTES:
            return await _retried(lambda: self._ledger.run(operation))
        return await _retried(lambda: self._pipeliner.run(operation))

    async def inputs(self, call: CallKey, first: int, count: int) -> list[bytes]:
        """Up to `count` request messages from ordinal `first` on.

        Raises LedgerUnavailable, and ItemsLost if a request was altered or is missing.
        """
        name, start = self._ledger.name(call.inputs), f"{first + 1}-0"
        entries = await self._command(lambda redis: redis.xrange(name, min=start, count=count))
        stored = consecutive(entries or (), first)
        return [self.seals.open_input(call, ordinal, request) for ordinal, request in stored]

    async def set_once(self, name: str, value: bytes, for_ms: int) -> bytes:
        """Like `Ledger.set_once`; raises LedgerUnavailable."""
        return await _retried(lambda: self._ledger.set_once(name, value, for_ms))

    async def publish(self, channel: str, frame: bytes) -> int:
        """Like `Ledger.publish`; raises LedgerUnavailable."""
        return await _retried(lambda: self._ledger.publish(channel, frame))

    async def now_ms(self) -> float:
        """The ledger's time in ms, read now and then; raises LedgerUnavailable."""
        return await _retried(self._ledger.known_ms)

    async def _command(self, command: Callable[[Any], Awaitable[T]]) -> T:
        ledger = self._ledger
        return await _retried(lambda: ledger.within_timeout(command(ledger.redis)))

    async def close(self) -> None:
        await self._ledger.close()


async def _retried(run: Callable[[], Awaitable[T]]) -> T:
    give_up = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            result = await run()
        except BackendUnavailable as error:
            if time.monotonic() > give_up:
                raise LedgerUnavailable from error
            outage.failed(error)
            await asyncio.sleep(RETRY_DELAY_S)
        else:
            outage.succeeded()
            return result
