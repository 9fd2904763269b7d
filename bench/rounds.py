"""Rounds in which contenders take turns, and statistics of their figures. It does no I/O."""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

K = TypeVar("K")
T = TypeVar("T")

_SATURATED = 0.95
"""The share of the best rate that a saturating load must reach."""


def interleave(rounds: int, contenders: Mapping[K, Callable[[], T]]) -> dict[K, tuple[T, ...]]:
    """Runs each contender once a round; returns the results.

    Each round begins with another one (A B C, B C A, C A B, …): a load that comes first in a round
    takes up to a tenth more CPU than the same load in the middle.
    """
    found: dict[K, list[T]] = {name: [] for name in contenders}
    order = deque(contenders)
    for _ in range(rounds):
        for name in order:
            found[name].append(contenders[name]())
        order.rotate(-1)
    return {name: tuple(values) for name, values in found.items()}


def over_starts(
    starts: int, measured: Callable[[], Mapping[K, tuple[T, ...]]]
) -> dict[K, tuple[T, ...]]:
    """Joins the results of several starts of the contenders.

    Two processes of one program differ by up to 6% in their CPU time for as long as they live, and
    no number of rounds would even that out.
    """
    found: dict[K, tuple[T, ...]] = {}
    for _ in range(starts):
        for name, values in measured().items():
            found[name] = (*found.get(name, ()), *values)
    return found


def best_of(*series: Sequence[float]) -> tuple[float, ...]:
    """The highest of the series, round by round."""
    return tuple(max(values) for values in zip(*series, strict=True))


def least_saturating(rates: Mapping[int, float]) -> int:
    """The smallest load whose rate is within 5% of the best; `rates` are by load.

    A larger load would only lengthen the queue, and so each call's time.
    """
    best = max(rates.values())
    return min(load for load, rate in rates.items() if rate >= _SATURATED * best)


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile of the values, by nearest rank."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Series:
    """A contender's figures, one a round."""

    name: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)


@dataclass(frozen=True)
class Absent:
    """A rival without figures, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Ratio:
    """Our figure divided by the rival's of the same round, which measures both close in time."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def lowest(self) -> float:
        return min(self.values)

    @property
    def highest(self) -> float:
        return max(self.values)


def ratio_of(ours: Series, theirs: Series) -> Ratio:
    """The ratios of two series; raises ValueError if their rounds differ in number."""
    return Ratio(tuple(a / b for a, b in zip(ours.values, theirs.values, strict=True)))


@dataclass(frozen=True)
class Goal:
    """A bound on a ratio, or on a figure that has no rival.

    An `absolute` goal bounds our figure, even if a rival's figure is shown beside it.
    """

    bound: float
    at_most: bool = True
    absolute: bool = False

    def met(self, value: float) -> bool:
        """Whether the value is within the bound."""
        return value <= self.bound if self.at_most else value >= self.bound


@dataclass(frozen=True)
class Figure:
    """One line of the report: our figures, a rival's if there is one, and the goal.

    A goal applies to the median ratio or, without a rival, to our highest value. An absolute goal
    applies to our median. If the rival is absent, it is unknown whether a goal on the ratio is met.
    `row` is the goal's number, as in `python -m bench ROW`.
    """

    key: str
    title: str
    unit: str
    ours: Series
    theirs: Series | Absent | None = None
    goal: Goal | None = None
    row: int | None = None

    @property
    def ratio(self) -> Ratio | None:
        """Ours divided by theirs, if the rival has figures."""
        return ratio_of(self.ours, self.theirs) if isinstance(self.theirs, Series) else None

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None without a goal, or without a rival's figures."""
        if self.goal is None:
            return None
        if self.goal.absolute:
            return self.goal.met(self.ours.median)
        if isinstance(self.theirs, Absent):
            return None
        ratio = self.ratio
        return self.goal.met(max(self.ours.values) if ratio is None else ratio.median)


@dataclass(frozen=True)
class Line:
    """A line of a chart: a series at each x; `ideal` marks the ideal line."""

    name: str
    points: tuple[tuple[float, Series], ...]
    ideal: bool = False


@dataclass(frozen=True)
class Chart:
    """Figures to be drawn over something that grows; `x` and `y` are the axes' labels.

    If `x_is_share`, x is a quantile's share, from 0 to 1, and the axis stretches the end near 1.
    """

    key: str
    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    log_x: bool = False
    log_y: bool = False
    x_is_share: bool = False
