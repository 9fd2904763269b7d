"""Decides whether a queue accepts another call. Pure.

A call is refused if the queue is full, or if the expected wait is more than `CLEARLY` times
as long as the call may wait. Admitting a call that then expires costs little, since
no worker begins an expired call; refusing a call that would have been in time loses it. And
estimates can be off by that factor: expired and cancelled calls leave the queue without
running, and calls differ. Calls above the lowest priority are not refused for the expected
wait, since nobody knows how many calls they overtake.
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
"""The factor by which the expected wait must be too long."""
_IN_USE_FOR_S = 60.0


@dataclass(frozen=True)
class QueueRequest:
    """A call for a queue: the calls that its caller has in flight, and how long it may wait.

    The queue's figures are those of all tenants, so only a caller that `sees_figures` is told them;
    that is asked only for a call that is refused.
    `held` is None where there are no tenants; else how many calls of the queue wait in this
    gateway, and how many of these are sent before the call.
    """

    queue: str
    caller_holds: int
    priority: int = 0
    deadline_s: float = inf
    queue_wait_s: float = inf
    sees_figures: Callable[[], bool] = lambda: True
    held: tuple[int, float] | None = None


class QueueLimits:
    """The limits and loads of the queues that this gateway sends calls to."""

    def __init__(
        self, names: Iterable[str], max_depth: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._max_depth = max_depth
        self._loads = {name: QueueLoad(clock) for name in names}

    def __getitem__(self, name: str) -> QueueLoad:
        return self._loads[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loads)

    def watched(self, name: str) -> QueueLoad:
        """Returns the load of a queue, and marks the queue as in use without a call."""
        load = self._loads[name]
        load.used_at = self._clock()
        return load

    def in_use(self) -> list[str]:
        """The queues that had a call, or were watched, within the last minute."""
        now = self._clock()
        return [name for name, load in self._loads.items() if now - load.used_at <= _IN_USE_FOR_S]

    @contextmanager
    def counted(
        self, name: str, max_batch: int = 1, *, stays_after: bool = False
    ) -> Iterator[Callable[[], None]]:
        """Counts a call on the queue until the block is left, or the function is called.

        Calls that may share a message don't count as waiting: most add no message to the queue. A
        call that `stays_after` the block counts until the next sample of the queue has it.
        """
        load = self._loads[name]
        adds_message = max_batch <= 1
        is_counted = True
        load.calls += 1
        if adds_message:
            load.on_call_start()

        def uncount() -> None:
            nonlocal is_counted
            if is_counted:
                is_counted = False
                load.calls -= 1
                if adds_message:
                    load.on_call_end()

        try:
            yield uncount
            if stays_after and is_counted:
                load.on_call_left()
        finally:
            uncount()

    def refusal(self, request: QueueRequest) -> CapacityError | None:
        """The error to refuse the call with; None if the queue takes it."""
        load = self._loads[request.queue]
        load.used_at = self._clock()
        if request.held is None:
            return self._too_deep(load, load.waiting, request) or _too_slow(load.wait_s, request)
        held, ahead = request.held  # calls of other tenants wait elsewhere
        depth = load.depth
        wait_s = (depth + ahead) / load.per_s if depth + ahead and load.per_s else None
        return self._too_deep(load, depth + held, request) or _too_slow(wait_s, request)

    def _too_deep(self, load: QueueLoad, waiting: int, request: QueueRequest) -> QueueFull | None:
        if fits(max(0, request.caller_holds - 1), 1, self._max_depth - waiting):
            return None
        # All refused callers retry, so the delay lasts until a twentieth of the queue is free.
        excess = waiting + 1 - self._max_depth * (1 - 1 / 20)
        if not request.sees_figures():
            return QueueFull(
                f"the queue {request.queue!r} is full; {request.caller_holds} calls of this tenant "
                "are in flight",
                retry_after_s=retry_after_s(None),
                quota=f"queue {request.queue}",
            )
        return QueueFull(
            f"about {waiting} calls wait in the queue {request.queue!r}, of at most "
            f"{self._max_depth}; {request.caller_holds} calls of this caller are in flight",
            retry_after_s=retry_after_s(max(0.0, excess) / load.per_s if load.per_s else None),
            quota=f"queue {request.queue}",
        )


def _too_slow(wait_s: float | None, request: QueueRequest) -> CapacityError | None:
    if not wait_s or request.priority:
        return None
    expected = f"a call in the queue {request.queue!r} waits about {wait_s:.1f} s for a worker"
    if not request.sees_figures():
        expected = f"a call in the queue {request.queue!r} waits too long for a worker"
    if wait_s > CLEARLY * request.deadline_s:
        return WaitExceedsDeadline(
            f"{expected}, and this one has {request.deadline_s:.1f} s",
            retry_after_s=_retry_after_s(wait_s - request.deadline_s, request),
        )
    if wait_s > CLEARLY * request.queue_wait_s:
        return QueueFull(
            f"{expected}, and may wait for {request.queue_wait_s:g} s",
            retry_after_s=_retry_after_s(wait_s - request.queue_wait_s, request),
            quota=f"queue {request.queue}",
        )
    return None


def _retry_after_s(estimate_s: float, request: QueueRequest) -> float:
    """The delay by the estimate; callers that may not learn the queue's length get the default."""
    return retry_after_s(estimate_s if request.sees_figures() else None)
