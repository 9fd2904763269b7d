"""The fair queues of one broker at this gateway."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping

from forebay_backends.aio.periodic import run_periodically
from forebay_backends.settings.tenant_settings import DEFAULTS, TenantSettings, limits_of
from forebay_gateway.fair_queues.fair_queue import FairQueue, QueueEntry

_REVIEW_INTERVAL_S = 0.5

_log = logging.getLogger(__name__)


class FairQueues:
    """A `FairQueue` for each queue name; `slots` returns how many slots a queue's live workers
    have.

    Each gateway has its own fair queues: with N gateways, up to N times as many calls are in the
    broker's queue.
    """

    def __init__(self, tenants: Mapping[str, TenantSettings], slots: Callable[[str], int]) -> None:
        self._tenants = tenants
        self._default_weight = limits_of(DEFAULTS, tenants).weight or 1
        self._slots = slots
        self._queues = defaultdict[str, FairQueue](lambda: FairQueue(self._weight))

    def enter(self, entry: QueueEntry) -> bool:
        """Adds a call; `leave` must follow when it has ended.

        Returns whether the caller must send it now. If not, the entry's `send` is called in its
        turn.
        """
        return self._queues[entry.queue].enter(entry, self._slots(entry.queue))

    def leave(self, entry: QueueEntry) -> None:
        """The call has ended, or its caller gave it up; sends what may be sent now."""
        queue = self._queues[entry.queue]
        if queue.leave(entry):
            self._send_due(entry.queue, queue)

    def held(self, queue: str) -> int:
        """How many calls of the queue wait in this gateway."""
        found = self._queues.get(queue)
        return 0 if found is None else found.held.count

    def held_before(self, tenant: str, queue: str) -> tuple[int, float]:
        """How many calls of the queue wait in this gateway, and before the tenant's next one.

        The second is an estimate of how many of the waiting calls will be sent before.
        """
        found = self._queues.get(queue)
        if found is None or not found.held.count:
            return 0, 0.0
        count, own = found.held.count, found.held.waiting(tenant)
        return count, min(float(count), own / found.held.part(tenant)) if own else 0.0

    async def run(self) -> None:
        """Sends calls as slots become free or are added, until cancelled."""
        await run_periodically(_REVIEW_INTERVAL_S, self._review, _log, "reviewing fair queues")

    async def _review(self) -> None:
        for name, queue in tuple(self._queues.items()):
            self._send_due(name, queue)
            if queue.is_empty:
                del self._queues[name]
            await asyncio.sleep(0)

    def _send_due(self, name: str, queue: FairQueue) -> None:
        slots = self._slots(name)
        while (entry := queue.next(slots)) is not None:
            entry.send()

    def _weight(self, tenant: str) -> int:
        own = self._tenants.get(tenant)
        if own is not None and own.weight is not None:
            return own.weight
        return self._default_weight
