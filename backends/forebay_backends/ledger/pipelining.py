"""Pipelining: operations that arrive while a round trip is under way share the next one.

In a cluster each partition has round trips of its own: a node that does not answer, or a slot that
moves, must not delay other partitions.
"""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from redis import exceptions as redis_errors

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.base import Operation

T = TypeVar("T")

_MAX_OPERATIONS = 64
"""Limit for a round trip: the server runs its operations in a row, while other clients wait."""


class Pipeliner:
    """Runs small, independent operations; under load they share round trips.

    The server gets a partition's operations in the order in which `run` was called. If a round
    trip times out, the operations that wait behind it fail with the same error, so none waits for
    longer than `Ledger.run` would.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._queues: dict[str, _Queue] = {}

    async def run(self, operation: Operation[T]) -> T:
        """Runs the operation; raises BackendUnavailable.

        If the caller is cancelled, the operation may or may not still run.
        """
        name = operation.partition if self._ledger.is_cluster else ""
        queue = self._queues.setdefault(name, _Queue(self._ledger))
        result: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.put(operation, result)
        return await result


class _Queue:
    """The operations that wait for the next round trip."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._waiting: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._sender: asyncio.Task[None] | None = None

    def put(self, operation: Operation[T], result: asyncio.Future[T]) -> None:
        self._waiting.append((operation, result))
        if self._sender is None:
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._waiting:
                batch = self._waiting[:_MAX_OPERATIONS]
                self._waiting = self._waiting[_MAX_OPERATIONS:]
                await self._run_batch([entry for entry in batch if not entry[1].done()])
        finally:
            self._sender = None

    async def _run_batch(self, batch: list[tuple[Operation[Any], asyncio.Future[Any]]]) -> None:
        outcomes = await self._ledger.run_each([operation for operation, _ in batch])
        if any(_is_timeout(outcome) for outcome in outcomes):
            behind, self._waiting = self._waiting, []
            batch = batch + behind
            outcomes = outcomes + [outcomes[-1] for _ in behind]
        for (_, result), outcome in zip(batch, outcomes, strict=True):
            if result.done():  # its caller was cancelled
                continue
            if isinstance(outcome, Exception):
                result.set_exception(outcome)
            else:
                result.set_result(outcome)


def _is_timeout(outcome: Any) -> bool:
    timeouts = (TimeoutError, redis_errors.TimeoutError)
    return isinstance(outcome, BackendUnavailable) and isinstance(outcome.__cause__, timeouts)
