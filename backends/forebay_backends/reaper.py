"""The periodic repair of the ledger, which every gateway and every worker takes part in.

Once a second an expiring key elects one of these processes. It ends calls whose time is up,
deletes records that are past their retention or over the ledger's byte cap, resends the messages
of calls whose lease expired or whose message was lost, and notifies tasks of the ends of calls.
Repairing twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.broker.base import Broker
from forebay_backends.broker.task_messages import waiting_message
from forebay_backends.end_notices import EndNotices
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, REAPING, waiting_keys
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.base import Lapse
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
from forebay_backends.telemetry.call_labels import about_call

REAP_INTERVAL_S = 1.0
_ELECTED_FOR_S = 0.7
"""Less than the interval, so that each second has an election."""
_MOST_DOUBTS = 3
"""After more uncertain readings than this, a second apart, no process knows the clock."""
_MAX_EVICTIONS = 1000
"""Limit for one repair."""

_log = logging.getLogger(__name__)


class RepairCounts(Protocol):
    """Counts lost attempts, reruns and resent messages, by queue."""

    def attempt_lost(self, queue: str) -> None: ...

    def rerun(self, queue: str) -> None: ...

    def message_resent(self, queue: str) -> None: ...


def count_lapses(counts: RepairCounts | None, lapses: Iterable[Lapse]) -> None:
    """Counts lost attempts and reruns, unless `counts` is None."""
    if counts is None:
        return
    for lapse in lapses:
        counts.attempt_lost(lapse.queue)
        if lapse.runs_again:
            counts.rerun(lapse.queue)


class Reaper:
    """One process's share of the repair."""

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        retention_bytes: int,
        counts: RepairCounts | None = None,
    ) -> None:
        self._counts = counts
        self._ledger = ledger
        self._broker = broker
        self._outage = OutageLog(
            _log, "the broker does not answer; lost calls wait", "lost calls are resent again"
        )
        self._retention_bytes = retention_bytes
        self._doubts = 0
        self._end_notices = EndNotices(ledger, broker)

    async def repair(self, queues: Collection[str]) -> None:
        """Repairs everything once, unless another process did so just now.

        Resends only calls of the given queues. Raises BackendUnavailable if the ledger does
        not answer.
        """
        if not await self._may_set_clock():
            return
        if not await self._ledger.elected(REAPING, _ELECTED_FOR_S):
            # Every process must know the clock: after a step, any of them may be elected.
            if not self._ledger.clock.is_fresh:
                await self._ledger.read_clock()
            return
        workers = await live_workers(self._ledger)
        consumed = consumed_queues(workers)
        swept = await self._sweep(consumed)
        waiting_ends = [partition.ends for partition in swept]
        await self._evict_over_cap(swept, consumed)
        await self._resend_lost(sorted(queues))
        await self._end_notices.send(waiting_ends, workers)

    async def _may_set_clock(self) -> bool:
        """Whether this process knows the clock, or no process does.

        While the clock is in doubt, processes that know it get the chance to sweep first: they do
        so within 1.2 s.
        """
        if self._ledger.clock.now_ms() is not None or (await self._ledger.read_clock()).is_certain:
            return True
        self._doubts += 1
        return self._doubts > _MOST_DOUBTS

    async def _sweep(self, consumed: Collection[str]) -> list[Swept]:
        swept = await self._ledger.run_all([sweep(n, consumed) for n in range(PARTITIONS)])
        self._ledger.clock.on_read(swept[0].clock_ms)
        count_lapses(self._counts, (lapse for one in swept for lapse in one.lapses))
        return swept

    async def _evict_over_cap(self, swept: list[Swept], consumed: Collection[str]) -> None:
        """Deletes the oldest finished calls until all of them fit the cap."""
        for _ in range(_MAX_EVICTIONS):
            if sum(partition.held_bytes for partition in swept) <= self._retention_bytes:
                return
            oldest = min(
                (n for n in range(PARTITIONS) if swept[n].held_bytes > 0),
                key=lambda n: swept[n].oldest_ms or 0,
            )
            if not await self._ledger.run(evict(oldest)):
                return
            swept[oldest] = await self._ledger.run(sweep(oldest, consumed))

    async def _resend_lost(self, queues: list[str]) -> None:
        if not await self._ledger.may_exist(waiting_keys(queues)):
            self._outage.succeeded()
            return
        by_partition = await self._ledger.run_all([unclaimed(n, queues) for n in range(PARTITIONS)])
        for queue in queues:
            waiting = sum((found[queue] for found in by_partition), QueueBacklog(0, ()))
            if not waiting.old:
                continue
            try:
                await self._resend(certainly_lost(waiting), "its worker or its message was lost")
                depth = await self._broker.depth(queue)
                await self._resend(probably_lost(waiting, depth), "its message is missing")
            except BackendUnavailable as error:
                self._outage.failed(error)
                return
        self._outage.succeeded()

    async def _resend(self, calls: Iterable[UnclaimedCall], reason: str) -> None:
        for call in calls:
            with about_call(
                call.call.id,
                call.attempt,
                traceparent=call.traceparent,
                tenant=call.call.owner,
            ):
                _log.info("resending call %s, attempt %d: %s", call.call, call.attempt, reason)
            await self._broker.send(waiting_message(call))
            await self._ledger.run(mark_resent(call))
            if self._counts is not None:
                self._counts.message_resent(call.queue)
