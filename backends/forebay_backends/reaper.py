"""Repair of what lost processes left: on gateways and workers, by whoever comes first.

Once a second one process, elected by an expiring key, ends what is due in every
partition, drops what is past its retention or over the ledger's byte cap, and sends calls
again whose claim lapsed or whose message was lost. Done twice, none of it does harm.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from forebay.errors import BackendUnavailable
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.broker.task_messages import call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, REAPING
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.maintenance import (
    QueueBacklog,
    Swept,
    UnclaimedCall,
    evict,
    mark_resent,
    sweep,
    unclaimed,
)
from forebay_backends.ledger.presence import consumed_queues, live_workers

ROUND_S = 1.0
_ELECTED_FOR_S = 0.7
_MOST_EVICTED_A_ROUND = 1000

_log = logging.getLogger(__name__)


class Reaper:
    """One process's share of the repair."""

    def __init__(self, ledger: Ledger, dispatcher: Dispatcher, retention_bytes: int) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._retention_bytes = retention_bytes

    async def round(self, queues: Collection[str]) -> None:
        """Repairs everything once, unless another process did so just now.

        `queues` are those whose calls are sent again where they must be. Raises
        BackendUnavailable where the ledger does not answer.
        """
        if not await self._ledger.elected(REAPING, _ELECTED_FOR_S):
            return
        consumed = consumed_queues(await live_workers(self._ledger))
        swept = await self._ledger.run_all([sweep(n, consumed) for n in range(PARTITIONS)])
        await self._hold_to_cap(swept, consumed)
        await self._send_again(sorted(queues))

    async def _hold_to_cap(self, swept: list[Swept], consumed: Collection[str]) -> None:
        """Drops the oldest finished calls while all of them hold more than the cap."""
        for _ in range(_MOST_EVICTED_A_ROUND):
            if sum(partition.held_bytes for partition in swept) <= self._retention_bytes:
                return
            oldest = min(
                (n for n in range(PARTITIONS) if swept[n].held_bytes > 0),
                key=lambda n: swept[n].oldest_ms or 0,
            )
            if not await self._ledger.run(evict(oldest)):
                return
            swept[oldest] = await self._ledger.run(sweep(oldest, consumed))

    async def _send_again(self, queues: list[str]) -> None:
        by_partition = await self._ledger.run_all([unclaimed(n, queues) for n in range(PARTITIONS)])
        for queue in queues:
            waiting = sum((found[queue] for found in by_partition), QueueBacklog(0, ()))
            if not waiting.old:
                continue
            try:
                await self._send(certainly_lost(waiting), "it lost its worker, or its message")
                depth = await self._dispatcher.depth(queue)
                await self._send(probably_lost(waiting, depth), "its message is missing")
            except BackendUnavailable as error:
                _log.warning("calls of queue %r wait to be sent again: %s", queue, error)

    async def _send(self, calls: Iterable[UnclaimedCall], why: str) -> None:
        for call in calls:
            _log.info("call %s is sent again, attempt %d: %s", call.call, call.attempt, why)
            await self._dispatcher.send(
                call_message(
                    call.call,
                    call.attempt,
                    task=call.task,
                    queue=call.queue,
                    priority=call.priority,
                )
            )
            await self._ledger.run(mark_resent(call))
