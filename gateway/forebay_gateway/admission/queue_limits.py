"""Whether a queue takes a further call. Pure.

A call is refused where the queue is as long as it may be, or where the expected wait is
clearly over what the call may wait: over `CLEARLY` times. A call that is
admitted in vain costs little, as no worker begins what has expired; one refused in vain
is lost to its caller. And estimates are off by as much: what is expired or cancelled
leaves the queue unbegun, and calls differ. Calls of a higher priority than the lowest
are not held to the estimate, since nobody knows how many they overtake.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from forebay.errors import CapacityError, QueueFull, WaitExceedsDeadline
from forebay_gateway.admission.fair_share import fits
from forebay_gateway.admission.queue_load import QueueLoad
from forebay_gateway.admission.retry_after import retry_after_s

CLEARLY = 2.0
"""How many times too long an expected wait must be."""
_USED_LATELY_S = 60.0


@dataclass(frozen=True)
class QueueRequest:
    """A call that asks for a queue: who calls, with how many in flight, and its bounds."""

    queue: str
    caller_holds: int
    priority: int = 0
    deadline_s: float = inf
    queue_wait_s: float = inf


class QueueLimits:
    """The queues that this gateway sends to."""

    def __init__(
        self, names: Iterable[str], max_depth: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._max_depth = max_depth
        self._loads = {name: QueueLoad(clock) for name in names}

    def __getitem__(self, name: str) -> QueueLoad:
        return self._loads[name]

    def in_use(self) -> list[str]:
        """The queues that calls asked for within the last minute."""
        now = self._clock()
        return [name for name, load in self._loads.items() if now - load.used_at <= _USED_LATELY_S]

    @contextmanager
    def counted(self, name: str, max_batch: int = 1) -> Iterator[None]:
        """Counts a call that goes to the queue until the block is left; one that shares its
        message with others is not counted, as it may add none.
        """
        if max_batch > 1:
            yield
            return
        load = self._loads[name]
        load.entered()
        try:
            yield
        finally:
            load.left()

    def refusal(self, asking: QueueRequest) -> CapacityError | None:
        """Why the call is not taken; None where it is."""
        load = self._loads[asking.queue]
        load.used_at = self._clock()
        return self._too_deep(load, asking) or _too_slow(load, asking)

    def _too_deep(self, load: QueueLoad, asking: QueueRequest) -> QueueFull | None:
        waiting = load.waiting
        if fits(max(0, asking.caller_holds - 1), 1, self._max_depth - waiting):
            return None
        # Whoever was refused comes again: room for one is no room for all of them.
        excess = waiting + 1 - self._max_depth * (1 - 1 / 20)
        return QueueFull(
            f"about {waiting} calls wait in the queue {asking.queue!r}, of at most "
            f"{self._max_depth}; {asking.caller_holds} calls of this caller are in flight",
            retry_after_s=retry_after_s(max(0.0, excess) / load.per_s if load.per_s else None),
            quota=f"queue {asking.queue}",
        )


def _too_slow(load: QueueLoad, asking: QueueRequest) -> CapacityError | None:
    wait_s = load.wait_s
    if not wait_s or asking.priority:
        return None
    expected = f"a call in the queue {asking.queue!r} waits about {wait_s:.1f} s for a worker"
    if wait_s > CLEARLY * asking.deadline_s:
        return WaitExceedsDeadline(
            f"{expected}, and this one has {asking.deadline_s:.1f} s",
            retry_after_s=retry_after_s(wait_s - asking.deadline_s),
        )
    if wait_s > CLEARLY * asking.queue_wait_s:
        return QueueFull(
            f"{expected}, and may wait for {asking.queue_wait_s:g} s",
            retry_after_s=retry_after_s(wait_s - asking.queue_wait_s),
            quota=f"queue {asking.queue}",
        )
    return None
