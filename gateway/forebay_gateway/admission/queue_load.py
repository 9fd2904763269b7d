"""How many calls wait in a queue, and how long the next one would. Pure.

**Waiting** is the queue's depth as the broker last gave it, counted on from there by the
calls that came and went at this gateway since. Where the depth was 0, as many of them
as there are slots are taken to run.

**The drain rate** is what the workers say they have begun, over time and slots. It says how
fast a queue can be emptied only while there is something in it: an idle fleet begins
as many calls as come. So it is measured over stretches in which every look found the
queue non-empty, of 10 s at least and of 5 begun calls; it is remembered for a minute after.

A worker says every few seconds what it has begun; so its slots count from one such word
to the next that says more, and one that is new, or hangs, does not slow the rate. What is
unsure goes in the caller's favour. With no rate (a cold start, a queue without
backlog, no workers) there is no estimate.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf

_SHORTEST_S, _LONG_ENOUGH_S, _LONGEST_S = 10.0, 30.0, 600.0
_FEWEST, _ENOUGH = 5, 20
_REMEMBERED_S = 60.0
_LOOK_HOLDS_S = 5.0


@dataclass(frozen=True)
class Work:
    """What a live worker says: its slots, and the calls of a queue that it has begun."""

    slots: int
    begun: int


@dataclass(frozen=True)
class _Sample:
    """What was begun, and the slot-seconds that it took, since the stretch began."""

    at: float
    begun: int
    slot_s: float


class DrainRate:
    """How many calls of a queue one slot begins a second while there is a backlog."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[int, float]] = {}  # by worker: begun, and since when
        self._stretch: deque[_Sample] = deque()
        self._per_slot: float | None = None
        self._measured_at = -inf

    def per_slot(self, now: float) -> float | None:
        """Calls a second; None where that is not known."""
        return self._per_slot if now - self._measured_at <= _REMEMBERED_S else None

    def observe(self, now: float, *, backlog: bool, workers: Mapping[str, Work]) -> None:
        """Takes what a look has shown."""
        if not backlog or (self._stretch and now - self._stretch[-1].at > _LOOK_HOLDS_S):
            self._stretch.clear()  # it was empty, or may have been
        if not backlog:
            return
        if not self._stretch:
            self._said = {}
            self._stretch.append(_Sample(now, 0, 0.0))
        self._stretch.append(self._sample(now, workers))
        while len(self._stretch) > 2 and self._enough(self._stretch[1]):
            self._stretch.popleft()
        self._measure()

    def _sample(self, now: float, workers: Mapping[str, Work]) -> _Sample:
        begun, slot_s = self._stretch[-1].begun, self._stretch[-1].slot_s
        for name, work in workers.items():
            said, since = self._said.setdefault(name, (work.begun, now))
            if work.begun == said:
                continue
            self._said[name] = work.begun, now
            if work.begun > said:  # less where it was restarted
                begun += work.begun - said
                slot_s += work.slots * (now - since)
        return _Sample(now, begun, slot_s)

    def _enough(self, first: _Sample) -> bool:
        last = self._stretch[-1]
        long, many = last.at - first.at, last.begun - first.begun
        return (long >= _LONG_ENOUGH_S and many >= _ENOUGH) or long >= _LONGEST_S

    def _measure(self) -> None:
        first, last = self._stretch[0], self._stretch[-1]
        many, slot_s = last.begun - first.begun, last.slot_s - first.slot_s
        if last.at - first.at >= _SHORTEST_S and many >= _FEWEST and slot_s:
            self._per_slot = many / slot_s
            self._measured_at = last.at


class QueueLoad:
    """What this gateway knows of one queue."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = DrainRate()
        self._slots = 0
        self._depth = 0
        self._looked_at = -inf
        self._here = 0  # calls in flight at this gateway that went to the queue
        self._here_then = 0  # as many when the depth was asked for
        self.used_at = clock()
        """When a call last asked for the queue."""

    def entered(self) -> None:
        """A call goes to the queue."""
        self._here += 1

    def left(self) -> None:
        """A call has ended, or its caller has left."""
        self._here -= 1

    def on_look(self, depth: int, workers: Mapping[str, Work]) -> None:
        """Takes the queue's depth, and what its workers say."""
        self._depth, self._here_then = depth, self._here
        self._slots = sum(work.slots for work in workers.values())
        self._looked_at = self._clock()
        self._rate.observe(self._looked_at, backlog=depth > 0, workers=workers)

    @property
    def waiting(self) -> int:
        """About how many calls wait; 0 where nobody has looked for 5 s."""
        if self._clock() - self._looked_at > _LOOK_HOLDS_S:
            return 0
        came = self._here - self._here_then - (0 if self._depth else self._slots)
        return max(0, self._depth + came)

    @property
    def per_s(self) -> float | None:
        """About how many calls the queue's workers begin a second; None where unknown."""
        per_slot = self._rate.per_slot(self._clock())
        return per_slot * self._slots if per_slot and self._slots else None

    @property
    def wait_s(self) -> float | None:
        """About how long the next call would wait; None where unknown."""
        return self.waiting / self.per_s if self.per_s else None
