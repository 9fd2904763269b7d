"""A rate over a sliding window of samples. Pure: the caller passes the time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from math import inf


@dataclass(slots=True)
class _Sample:
    """Running totals: events, and the time that they are divided by."""

    at_s: float
    events: float
    busy_s: float


class RateWindow:
    """Events per second of busy time: all of the time, or for example slots times time.

    The window covers the last `window_s`, or longer until it has `enough_events`, but at most
    `longest_s`. It gives a rate only if it covers `shortest_s` and has `fewest_events`. Samples
    closer than `resolution_s` are merged, which bounds the window's memory.
    """

    def __init__(
        self,
        window_s: float,
        *,
        shortest_s: float = 0.0,
        longest_s: float = inf,
        fewest_events: int = 0,
        enough_events: int = 0,
        resolution_s: float = 0.0,
    ) -> None:
        self._window_s = window_s
        self._shortest_s = shortest_s
        self._longest_s = longest_s
        self._fewest_events = fewest_events
        self._enough_events = enough_events
        self._resolution_s = resolution_s
        self._samples: deque[_Sample] = deque()

    @property
    def last_at_s(self) -> float | None:
        """When the last sample was added; None if the window is empty."""
        return self._samples[-1].at_s if self._samples else None

    def start(self, now_s: float) -> None:
        """Drops all samples and starts counting at this time."""
        self._samples.clear()
        self._samples.append(_Sample(now_s, 0, 0.0))

    def clear(self) -> None:
        self._samples.clear()

    def add(self, now_s: float, events: float, busy_s: float | None = None) -> None:
        """Adds the events since the last sample, and the busy time, by default all of the time.

        `start` must be called first.
        """
        last = self._samples[-1]
        if busy_s is None:
            busy_s = now_s - last.at_s
        if len(self._samples) > 1 and now_s - self._samples[-2].at_s < self._resolution_s:
            last.at_s = now_s
            last.events += events
            last.busy_s += busy_s
        else:
            self._samples.append(_Sample(now_s, last.events + events, last.busy_s + busy_s))
        while len(self._samples) > 2 and self._is_enough(self._samples[1]):
            self._samples.popleft()

    def per_s(self) -> float | None:
        """The rate; None if the window has too few events, or no busy time."""
        if not self._samples:
            return None
        first, last = self._samples[0], self._samples[-1]
        events, busy_s = last.events - first.events, last.busy_s - first.busy_s
        has_rate = last.at_s - first.at_s >= self._shortest_s and events >= self._fewest_events
        return events / busy_s if has_rate and busy_s > 0 else None

    def _is_enough(self, first: _Sample) -> bool:
        last = self._samples[-1]
        span_s, events = last.at_s - first.at_s, last.events - first.events
        is_full = span_s >= self._window_s and events >= self._enough_events
        return is_full or span_s >= self._longest_s
