"""How many calls wait in a queue, and how long the next one would wait. Pure.

**Waiting** is the queue's depth as the broker last reported it, plus the calls that this
gateway has sent since, minus those that have ended. If the depth was 0, as many of the new
calls as there are slots count as running. Nobody tells the gateway of the end of a call that was
left to its queue, such as an operation: it counts until the next report.

**The drain rate** is how many calls the workers have begun, over time and slots. It shows
how fast a queue can be emptied only while it is not empty: an idle fleet begins just the calls
that come. So it is measured over stretches in which every sample found the queue not
empty, of at least 10 s and 5 begun calls, and is remembered for a minute after.

A worker reports its counters every few seconds. So its slots count from one report that shows
progress to the next, and a worker that is new, or hangs, does not lower the rate. What
is uncertain counts in the caller's favour. Without a rate (a cold start, a queue without
backlog, no workers) there is no estimate.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

from forebay_gateway.admission.rate_window import RateWindow

_REMEMBERED_S = 60.0
_SAMPLE_HOLDS_S = 5.0


@dataclass(frozen=True)
class Work:
    """A live worker's slots, and how many calls of a queue it has begun since its start."""

    slots: int
    begun: int


class DrainRate:
    """How many calls of a queue one slot begins per second while there is a backlog."""

    def __init__(self) -> None:
        self._reported: dict[str, tuple[int, float]] = {}
        """For each worker, the number of calls that it had begun, and when that last changed."""
        self._window = RateWindow(
            30.0, shortest_s=10.0, longest_s=600.0, fewest_events=5, enough_events=20
        )
        self._per_slot: float | None = None
        self._measured_at = -inf

    def per_slot(self, now_s: float) -> float | None:
        """Calls per second; None if unknown."""
        return self._per_slot if now_s - self._measured_at <= _REMEMBERED_S else None

    def observe(self, now_s: float, *, backlog: bool, workers: Mapping[str, Work]) -> None:
        """Takes a sample of the queue and of its workers."""
        last_at_s = self._window.last_at_s
        if not backlog:
            self._window.clear()
            return
        # After a gap between samples the queue may have been empty meanwhile.
        if last_at_s is None or now_s - last_at_s > _SAMPLE_HOLDS_S:
            self._reported = {}
            self._window.start(now_s)
        self._window.add(now_s, *self._progress(now_s, workers))
        rate = self._window.per_s()
        if rate is not None:
            self._per_slot, self._measured_at = rate, now_s

    def _progress(self, now_s: float, workers: Mapping[str, Work]) -> tuple[int, float]:
        """The calls that were begun since the last sample, and the slot-seconds that they took."""
        begun, slot_s = 0, 0.0
        for name, work in workers.items():
            reported, since_s = self._reported.setdefault(name, (work.begun, now_s))
            if work.begun == reported:
                continue
            self._reported[name] = work.begun, now_s
            if work.begun > reported:  # it is less after the worker's restart
                begun += work.begun - reported
                slot_s += work.slots * (now_s - since_s)
        return begun, slot_s


class QueueLoad:
    """The load of one queue, as far as this gateway knows it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = DrainRate()
        self._slots = 0
        self._depth = 0
        self._sampled_at = -inf
        self._in_flight = 0  # this gateway's calls on the queue
        self._in_flight_then = 0  # the same, when the depth was sampled
        self._left = 0  # calls whose callers left them to the queue since then
        self.calls = 0
        """This gateway's calls on the queue, also those that may share a message."""
        self.used_at = clock()
        """When a call for the queue last came, or the queue was last watched."""

    def on_call_start(self) -> None:
        """Counts a call that is sent to the queue."""
        self._in_flight += 1

    def on_call_end(self) -> None:
        """Counts a call as over: it has ended, or its caller has disconnected."""
        self._in_flight -= 1

    def on_call_left(self) -> None:
        """Counts a call that goes on when it is over for its caller."""
        self._left += 1

    @property
    def counts_calls_left(self) -> bool:
        """Whether `waiting` may have calls that are over, because the depth is not fresh."""
        return self._left > 0

    def on_depth(self, depth: int) -> None:
        """Takes a fresh depth, between two samples."""
        self._depth, self._in_flight_then, self._left = depth, self._in_flight, 0
        self._sampled_at = self._clock()

    def observe(self, depth: int, workers: Mapping[str, Work]) -> None:
        """Takes a sample of the queue's depth and of its workers."""
        self.on_depth(depth)
        self._slots = sum(work.slots for work in workers.values())
        self._rate.observe(self._sampled_at, backlog=depth > 0, workers=workers)

    @property
    def in_flight(self) -> int:
        """This gateway's calls on the queue, without those that may share a message."""
        return self._in_flight

    @property
    def per_slot_s(self) -> float | None:
        """About how many calls a slot begins per second; None if unknown."""
        return self._rate.per_slot(self._clock())

    @property
    def depth(self) -> int:
        """How many messages waited at the last sample; 0 if that is older than 5 s."""
        return self._depth if self._clock() - self._sampled_at <= _SAMPLE_HOLDS_S else 0

    @property
    def waiting(self) -> int:
        """About how many calls wait; 0 if the last sample is older than 5 s."""
        if self._clock() - self._sampled_at > _SAMPLE_HOLDS_S:
            return 0
        new = self._in_flight - self._in_flight_then - (0 if self._depth else self._slots)
        new += self._left
        return max(0, self._depth + new)

    @property
    def per_s(self) -> float | None:
        """About how many calls the queue's workers begin per second; None if unknown."""
        per_slot = self.per_slot_s
        return per_slot * self._slots if per_slot and self._slots else None

    @property
    def wait_s(self) -> float | None:
        """About how long the next call would wait; None if unknown."""
        return self.waiting / self.per_s if self.per_s else None
