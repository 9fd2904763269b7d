"""Which calls go to a worker together, and when. Pure.

A message costs a worker more than a small call does, so calls of one method and priority
share messages while there is anything to wait for. They go at once where fewer of their
batches are on their way than the queue has live slots; else they gather, until one of
those batches is over or the oldest call has gathered for `GATHER_S`. So an idle gateway
adds no delay, a busy one sends more in a message, and one whose batches are lost waits
for none of them.

A batch is run by one slot, one call after the other. So it holds no more than `WORK_S` of
work, by what calls of the method took of late, and no more than its share of what waits,
the free slots being equal (guided self-scheduling: Polychronopoulos and Kuck, "Guided
Self-Scheduling", IEEE Transactions on Computers C-36, 1987).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from forebay.routes import Method, Route

GATHER_S = 0.02
WORK_S = 0.02
_NEWEST = 0.2
"""The weight of a new call's time in the average."""


class Batchable(Protocol):
    """A call that wants to be sent."""

    begun_at: float
    """Since when, in s of the monotonic clock."""
    reply: asyncio.Future[Any]
    """Done where nobody waits for it any more."""


C = TypeVar("C", bound=Batchable)


class BatchQueue(Generic[C]):
    """The calls of one method and priority, until they are sent."""

    def __init__(self, route: Route) -> None:
        self.queue = route.queue
        self._max_batch = route.max_batch
        self._waiting: deque[C] = deque()
        self._in_flight: set[Hashable] = set()
        self._run_s: float | None = None

    def add(self, call: C) -> None:
        """The call wants to be sent."""
        self._waiting.append(call)

    def sent(self, batch: Hashable) -> None:
        """The batch is on its way."""
        self._in_flight.add(batch)

    def over(self, batch: Hashable) -> None:
        """The batch is answered, or lost, or left by all its callers."""
        self._in_flight.discard(batch)

    def ran(self, run_s: float) -> None:
        """A call's handler took so long."""
        before = run_s if self._run_s is None else self._run_s
        self._run_s = before + _NEWEST * (run_s - before)

    @property
    def due_at(self) -> float:
        """When calls go whatever is on its way; never, where none gather."""
        return self._waiting[0].begun_at + GATHER_S if self._waiting else inf

    def take(self, now: float, slots: int) -> list[C]:
        """The next batch's calls, for a queue of so many live slots; none where it is not time."""
        while self._waiting and self._waiting[0].reply.done():  # its caller has left
            self._waiting.popleft()
        free = max(slots, 1) - len(self._in_flight)
        if not self._waiting or (free <= 0 and now < self.due_at and self._max_batch > 1):
            return []
        size = min(self._most(), -(-len(self._waiting) // max(free, 1)))
        calls: list[C] = []
        while self._waiting and len(calls) < size:
            call = self._waiting.popleft()
            if not call.reply.done():
                calls.append(call)
        return calls

    def _most(self) -> int:
        if self._run_s is None:
            return 1  # nobody knows yet
        return max(1, min(self._max_batch, int(WORK_S / max(self._run_s, 1e-6))))


class Batcher(Generic[C]):
    """The calls that gather at a gateway, by method and priority.

    `slots` says how many live ones a queue has; `send` sends calls, and tells their
    gathering what they are part of from then on.
    """

    def __init__(
        self, slots: Callable[[str], int], send: Callable[[BatchQueue[C], list[C]], None]
    ) -> None:
        self._slots = slots
        self._send = send
        self._by_lane: dict[tuple[str, int], BatchQueue[C]] = {}
        self._timers: dict[BatchQueue[C], asyncio.TimerHandle] = {}

    def of(self, method: Method, priority: int) -> BatchQueue[C]:
        """Where calls of the method and priority gather."""
        lane = method.name, priority
        if lane not in self._by_lane:
            self._by_lane[lane] = BatchQueue(method.route)
        return self._by_lane[lane]

    def send_due(self, gathering: BatchQueue[C]) -> None:
        """Sends what is to go now, and sees to it that the rest goes in time."""
        slots = self._slots(gathering.queue)
        while calls := gathering.take(time.monotonic(), slots):
            self._send(gathering, calls)
        if gathering.due_at < inf and gathering not in self._timers:
            self._timers[gathering] = asyncio.get_running_loop().call_later(
                gathering.due_at - time.monotonic(), self._on_time, gathering
            )

    def _on_time(self, gathering: BatchQueue[C]) -> None:
        del self._timers[gathering]
        self.send_due(gathering)
