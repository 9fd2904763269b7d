"""What the gateway did in the last hour: calls that ended, and how long they took. Pure.

Counters only grow; a sample every 5 s records their growth. Samples are numbered by the clock, so
that samples of several processes with the same number can be added up. A method without calls in a
sample takes no memory in it.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import inf

SLOT_S = 5
"""The length of a sample."""
WINDOW_S = 3600
"""How far back the samples go, of calls and of errors."""


@dataclass(frozen=True)
class Calls:
    """Calls that ended: how many, how many failed, and how many in each bucket of durations."""

    ended: int
    failed: int
    buckets: array[int]

    @classmethod
    def none(cls, buckets: int) -> Calls:
        """No calls; with that many buckets."""
        return cls(0, 0, array("Q", bytes(8 * buckets)))

    def __add__(self, other: Calls) -> Calls:
        added = (a + b for a, b in zip(self.buckets, other.buckets, strict=True))
        return Calls(self.ended + other.ended, self.failed + other.failed, array("Q", added))

    def since(self, before: Calls) -> Calls:
        """The growth since an earlier count."""
        grown = (now - then for now, then in zip(self.buckets, before.buckets, strict=True))
        return Calls(self.ended - before.ended, self.failed - before.failed, array("Q", grown))


@dataclass(frozen=True)
class QueueState:
    """A queue at one moment; `oldest_wait_s` is None if no call waits."""

    queue: str
    depth: int
    oldest_wait_s: float | None
    slots: int
    busy_slots: int


@dataclass
class Slot:
    """One sample; `number` is the Unix time when it was taken, divided by `SLOT_S`."""

    number: int
    methods: dict[str, Calls] = field(default_factory=dict)
    queues: tuple[QueueState, ...] = ()


class Activity:
    """The samples of one process."""

    def __init__(self) -> None:
        self._slots: deque[Slot] = deque(maxlen=WINDOW_S // SLOT_S)
        self._counted: dict[str, Calls] = {}

    def add(
        self, now_s: float, counted: Mapping[str, Calls], queues: tuple[QueueState, ...]
    ) -> None:
        """Takes all counts since the start of the process."""
        self._slots.append(Slot(int(now_s // SLOT_S), dict(self._growth(counted)), queues))
        self._counted = dict(counted)

    @property
    def slots(self) -> Sequence[Slot]:
        """The samples, oldest first."""
        return tuple(self._slots)

    @property
    def last_number(self) -> int:
        """The number of the newest sample; -1 before the first."""
        return self._slots[-1].number if self._slots else -1

    def _growth(self, counted: Mapping[str, Calls]) -> Iterator[tuple[str, Calls]]:
        for method, calls in counted.items():
            before = self._counted.get(method) or Calls.none(len(calls.buckets))
            if calls.ended > before.ended:
                yield method, calls.since(before)


def intervals(slots: Iterable[Slot], last: int, window_s: int, step_s: int) -> list[Slot]:
    """The slots of one or several processes put together into steps, oldest first.

    The slot `last` is the end of the window. Both times are multiples of `SLOT_S`. A step has the
    queues of its last slot that has any.
    """
    each, count = step_s // SLOT_S, window_s // SLOT_S
    found: dict[int, Slot] = {}
    for slot in sorted(slots, key=lambda one: one.number):
        age = last - slot.number
        if not 0 <= age < count:
            continue
        number = last - age // each * each
        step = found.setdefault(number, Slot(number))
        for method, calls in slot.methods.items():
            known = step.methods.get(method)
            step.methods[method] = calls if known is None else known + calls
        step.queues = slot.queues or step.queues
    return [found[number] for number in sorted(found)]


def quantile_s(calls: Calls, bounds: Sequence[float], share: float) -> float | None:
    """How long that share of the calls took at most, as Prometheus' `histogram_quantile` has it.

    `bounds` are the upper bounds of the buckets, the last infinite. Within a bucket the calls
    count as evenly spread; past the last finite bound it is that bound. None without calls.
    """
    wanted, below = share * sum(calls.buckets), 0
    if not wanted:
        return None
    for count, (lower, upper) in zip(calls.buckets, pairwise((0.0, *bounds)), strict=True):
        if count and below + count >= wanted:
            return lower if upper == inf else lower + (upper - lower) * (wanted - below) / count
        below += count
    return bounds[-2]
