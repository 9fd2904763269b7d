"""Decides which calls share a message, and when it is sent.

A message costs a worker more than a small call does. So calls of one method and priority share
messages while they have to wait anyway. For example, a queue with 4 slots has 3 batches in
flight: the next call is sent at once. With 4 batches in flight, calls gather until one of the
batches is done, or until the oldest call has waited for `MAX_DELAY_S`. So an idle gateway adds
no delay, a busy one sends more calls in a message, and lost batches delay nothing for longer.

"At once" is in the next turn of the event loop, so that the calls of one turn share a message: when
requests of many callers arrive together, the first would otherwise be sent alone, and the others
would gather behind it.

One slot runs a batch, one call after the other. So a batch holds no more calls than run in
`MAX_RUN_S`, by the average of recent calls of the method, and no more than an equal share of the
waiting calls for each free slot (guided self-scheduling: Polychronopoulos and Kuck, "Guided
Self-Scheduling", IEEE Transactions on Computers C-36, 1987).

A batch never has calls of two owners, since a call that crashes its process takes its batch with
it. Owners take turns, and share the slots: what one has in flight makes the calls of others gather.
An owner with more calls than a batch holds goes behind the others; it waits for them at most
`MAX_DELAY_S` longer, since each of them is sent by then.

`BatchQueue` is pure; `Batcher` adds the timers.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable
from math import inf
from typing import Any, Generic, Protocol, TypeVar

from forebay.routes import Method, Route

MAX_DELAY_S = 0.02
MAX_RUN_S = 0.02
_SMOOTHING = 0.2
"""The weight of the latest call in the moving average of run times."""


class Batchable(Protocol):
    """A call that waits to be sent."""

    begun_at: float
    """In seconds of the monotonic clock."""
    reply: asyncio.Future[Any]
    """Done if the caller has disconnected."""

    @property
    def owner(self) -> str:
        """The tenant whose call it is; empty where authentication is off."""


C = TypeVar("C", bound=Batchable)


class BatchQueue(Generic[C]):
    """The unsent calls of one method and priority."""

    def __init__(self, route: Route) -> None:
        self.queue = route.queue
        self._max_batch = route.max_batch
        self._waiting: dict[str, deque[C]] = {}
        """The calls by owner, without empty queues; the owner whose turn is next comes first."""
        self._count = 0
        self._in_flight: set[Hashable] = set()
        self._run_s: float | None = None
        self.size_limit = 1
        """How many calls a batch holds at most, by their run times; 1 until a call has ended."""

    def add(self, call: C) -> None:
        """Adds a call to send."""
        waiting = self._waiting.get(call.owner)
        if waiting is None:
            waiting = self._waiting[call.owner] = deque()
        waiting.append(call)
        self._count += 1

    def on_batch_sent(self, batch: Hashable) -> None:
        """Counts a batch as in flight."""
        self._in_flight.add(batch)

    def on_batch_done(self, batch: Hashable) -> None:
        """Counts off a batch that was answered or lost, or whose callers all disconnected."""
        self._in_flight.discard(batch)

    def record_run_time(self, run_s: float) -> None:
        """Adds one call's run time to the average."""
        average_s = run_s if self._run_s is None else self._run_s
        self._run_s = average_s + _SMOOTHING * (run_s - average_s)
        if self._run_s * self._max_batch <= MAX_RUN_S:
            self.size_limit = self._max_batch
        else:
            self.size_limit = max(1, int(MAX_RUN_S / self._run_s))

    @property
    def send_by(self) -> float:
        """When the next owner's oldest call is sent at the latest; infinite if no call waits."""
        for waiting in self._waiting.values():
            return waiting[0].begun_at + MAX_DELAY_S
        return inf

    def next_batch(self, now: float, slots: int) -> list[C]:
        """The calls to send now, in one message; empty if none are due.

        `slots` is the number of slots of the queue's live workers. It looks only at the next owner:
        the work is the same however many owners wait.
        """
        self._drop_abandoned()
        free = max(slots, 1) - len(self._in_flight)
        if not self._waiting or (free <= 0 and now < self.send_by and self._max_batch > 1):
            return []
        return self._take(min(self.size_limit, -(-self._count // max(free, 1))))

    def _drop_abandoned(self) -> None:
        """Makes the next call one whose caller still waits."""
        while self._waiting:
            owner, waiting = next(iter(self._waiting.items()))
            while waiting and waiting[0].reply.done():
                waiting.popleft()
                self._count -= 1
            if waiting:
                return
            del self._waiting[owner]

    def _take(self, size: int) -> list[C]:
        """Up to `size` calls of the next owner, which then goes behind the others."""
        owner = next(iter(self._waiting))
        waiting = self._waiting.pop(owner)
        calls: list[C] = []
        while waiting and len(calls) < size:
            call = waiting.popleft()
            self._count -= 1
            if not call.reply.done():
                calls.append(call)
        if waiting:
            self._waiting[owner] = waiting
        return calls


class Batcher(Generic[C]):
    """The batch queues of one gateway, by method and priority.

    `slots` returns the number of live slots of a queue. `send` sends calls in one message; it
    must call the queue's `on_batch_sent`, and the batcher's `on_batch_done` at the end.
    """

    def __init__(
        self, slots: Callable[[str], int], send: Callable[[BatchQueue[C], list[C]], None]
    ) -> None:
        self._slots = slots
        self._send = send
        self._queues: dict[tuple[str, int], BatchQueue[C]] = {}
        self._timers: dict[BatchQueue[C], asyncio.TimerHandle] = {}
        self._added: set[BatchQueue[C]] = set()
        """The queues that got calls in this turn of the event loop."""

    def queue_of(self, method: Method, priority: int) -> BatchQueue[C]:
        key = method.name, priority
        if key not in self._queues:
            self._queues[key] = BatchQueue(method.route)
        return self._queues[key]

    def submit(self, queue: BatchQueue[C], call: C) -> None:
        """Sends the call now or later, alone or in a batch."""
        queue.add(call)
        if queue not in self._added:
            self._added.add(queue)
            asyncio.get_running_loop().call_soon(self._send_added, queue)

    def _send_added(self, queue: BatchQueue[C]) -> None:
        self._added.discard(queue)
        self._send_due(queue)

    def on_batch_done(self, queue: BatchQueue[C], batch: Hashable) -> None:
        """Counts off the batch, and sends calls that waited for that."""
        queue.on_batch_done(batch)
        self._send_due(queue)

    def _send_due(self, queue: BatchQueue[C]) -> None:
        slots = self._slots(queue.queue)
        while calls := queue.next_batch(time.monotonic(), slots):
            self._send(queue, calls)
        if queue.send_by < inf and queue not in self._timers:
            self._timers[queue] = asyncio.get_running_loop().call_later(
                queue.send_by - time.monotonic(), self._on_timer, queue
            )

    def _on_timer(self, queue: BatchQueue[C]) -> None:
        del self._timers[queue]
        self._send_due(queue)
