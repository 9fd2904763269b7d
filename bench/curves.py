"""Values as a function of a growing number, as lines of the report and as a chart; no I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.rounds import Chart, Figure, Goal, Line, Series


@dataclass(frozen=True)
class Curve:
    """Values by a growing number, such as the number of workers; the first value is the baseline.

    Ideally, values grow in proportion to the number (`linear`), or stay equal.
    """

    key: str
    title: str
    unit: str
    what_grows: str
    values: Mapping[int, Sequence[float]]
    linear: bool = False

    def figures(self, goal: Goal | None, row: int) -> Iterator[Figure]:
        """A figure for each number but the first, against the ideal value."""
        for number in list(self.values)[1:]:
            yield Figure(
                f"{self.key}_{number}",
                self.title,
                self.unit,
                self._measured(number),
                self._ideal(number),
                goal,
                row,
            )

    def chart(self, *, log_x: bool = False) -> Chart:
        """The measured values and the ideal ones."""
        measured = Line("measured", tuple((n, self._measured(n)) for n in self.values))
        ideal = Line(
            "linear" if self.linear else "flat",
            tuple((n, self._ideal(n)) for n in self.values),
            ideal=True,
        )
        return Chart(
            self.key, self.title, self.what_grows, self.unit, (measured, ideal), log_x=log_x
        )

    def _measured(self, number: int) -> Series:
        return Series(f"{number:,} {self.what_grows}", tuple(self.values[number]))

    def _ideal(self, number: int) -> Series:
        first = next(iter(self.values))
        times = number / first if self.linear else 1.0
        name = f"{times:g} times that of {first:,}" if self.linear else f"{first:,}"
        return Series(name, tuple(value * times for value in self.values[first]))
