"""How many tasks the workers of an application run at once, by queue."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from forebay.routes import Method
from forebay_gateway.plain.inspection import PlainWorkers

_SLOTS_IF_UNKNOWN = 16
"""The slots of a queue whose workers do not answer `inspect`."""
_KNOWN_FOR_S = 1.0


class QueueSlots:
    """The slots of the queues of these methods, by what the workers answer to inspections."""

    def __init__(self, workers: PlainWorkers, methods: Sequence[Method]) -> None:
        self._workers = workers
        self._methods = methods
        self._known: dict[str, int] = {}

    def by_worker(self, queue: str) -> dict[str, int] | None:
        """The live workers that can run a task of the queue, and their slots; None if unknown."""
        if not self._workers.inspected:
            return None
        return {
            worker: consumers.slots // len(consumers.workers)
            for method in self._methods
            if method.route.queue == queue
            for consumers in (self._workers.consumers_of(method),)
            for worker in consumers.workers
        }

    def total(self, queue: str) -> int:
        """All slots of the queue; counted once a second at most."""
        slots = self._known.get(queue)
        if slots is None:
            found = self.by_worker(queue)
            slots = _SLOTS_IF_UNKNOWN if found is None else sum(found.values())
            self._known[queue] = slots
            asyncio.get_running_loop().call_later(_KNOWN_FOR_S, self._known.pop, queue)
        return slots
