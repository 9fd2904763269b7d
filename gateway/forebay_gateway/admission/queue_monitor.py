"""Polls the queues in use: how many messages wait, and how many tasks their workers have begun."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_load import Work

QUEUE_POLL_INTERVAL_S = 1.0

_log = logging.getLogger(__name__)


class QueueDepths(Protocol):
    """The part of a broker that `QueueMonitor` needs."""

    async def depths(self, queues: Sequence[str]) -> list[int]:
        """The numbers of ready messages; raises BackendUnavailable."""


class QueueMonitor:
    """Keeps `QueueLimits` up to date."""

    def __init__(
        self,
        queues: QueueLimits,
        depths: QueueDepths,
        workers: Callable[[], Iterable[WorkerPresence]],
        queue_of_task: Mapping[str, str],
    ) -> None:
        self._queues = queues
        self._depths = depths
        self._workers = workers
        self._queue_of_task = queue_of_task

    async def run(self) -> None:
        """Polls until cancelled."""
        await run_periodically(QUEUE_POLL_INTERVAL_S, self._poll, _log, "polling the queues")

    async def _poll(self) -> None:
        queues = self._queues.in_use()
        try:
            if queues:
                await self.poll(queues)
        except BackendUnavailable:  # perhaps of one queue; the health check logs outages
            for queue in queues:
                with contextlib.suppress(BackendUnavailable):
                    await self.poll([queue])

    async def poll(self, queues: Sequence[str]) -> None:
        """Polls some queues; raises BackendUnavailable."""
        depths = await self._depths.depths(queues)
        for queue, depth in zip(queues, depths, strict=True):
            self._observe(queue, depth)

    def _observe(self, queue: str, depth: int) -> None:
        self._queues[queue].observe(
            depth,
            {
                worker.worker: Work(worker.slots, self._begun(worker, queue))
                for worker in self._workers()
                if queue in worker.queues
            },
        )

    def _begun(self, worker: WorkerPresence, queue: str) -> int:
        """Counts the worker's begun tasks, except those known to belong to its other queues."""
        return sum(
            count
            for task, count in worker.begun.items()
            if self._queue_of_task.get(task, queue) == queue
        )
