"""Looking at the queues in use, once a second: how deep they are, what their workers begin."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_load import Work

LOOK_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class Depths(Protocol):
    """What knows how deep queues are."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue; raises BackendUnavailable."""


class QueueMonitor:
    """Keeps `QueueLimits` up to date."""

    def __init__(
        self,
        queues: QueueLimits,
        depths: Depths,
        workers: Callable[[], Iterable[WorkerPresence]],
        queue_of_task: Mapping[str, str],
    ) -> None:
        self._queues = queues
        self._depths = depths
        self._workers = workers
        self._queue_of_task = queue_of_task

    async def look_after(self) -> None:
        """Looks until cancelled."""
        while True:
            for queue in self._queues.in_use():
                try:
                    await self.look(queue)
                except BackendUnavailable:
                    _log.debug("the broker does not say how deep %s is", queue)  # health warns
                except Exception:  # a fault of ours must not end the gateway
                    _log.exception("a look at the queue %s failed", queue)
            await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def look(self, queue: str) -> None:
        """Looks at one queue; raises BackendUnavailable."""
        depth = await self._depths.depth(queue)
        self._queues[queue].observe(
            depth,
            {
                worker.worker: Work(worker.slots, self._begun(worker, queue))
                for worker in self._workers()
                if queue in worker.queues
            },
        )

    def _begun(self, worker: WorkerPresence, queue: str) -> int:
        """All but the tasks that are known to come by another of the worker's queues."""
        return sum(
            count
            for task, count in worker.begun.items()
            if self._queue_of_task.get(task, queue) == queue
        )
