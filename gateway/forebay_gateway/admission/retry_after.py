"""The RetryInfo of refused calls. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable

from forebay.jitter import chance
from forebay_gateway.admission.rate_window import RateWindow

LEAST_S, MOST_S = 0.1, 60.0
UNKNOWN_S = 1.0
"""Used without an estimate."""
_SPREAD = 0.25
_WINDOW_S, _RESOLUTION_S = 10.0, 0.25


def retry_after_s(estimate_s: float | None, random: Callable[[], float] = chance) -> float:
    """The estimate within bounds, plus up to a quarter: callers should not retry all at once."""
    seconds = UNKNOWN_S if estimate_s is None else estimate_s
    return min(max(seconds, LEAST_S) * (1 + _SPREAD * random()), MOST_S)


class CompletionRate:
    """How many calls ended per second, over the last 10 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ended_at: float | None = None
        self._window = RateWindow(_WINDOW_S, resolution_s=_RESOLUTION_S)
        self._sampled_at = clock()
        self._window.start(self._sampled_at)
        self._ended = 0
        """Calls that have ended since the last sample."""

    def on_end(self) -> None:
        """Counts a call that has ended."""
        now_s = self._clock()
        if now_s - self._sampled_at >= _RESOLUTION_S:
            self._sample(now_s)
        self._ended_at = now_s
        self._ended += 1

    def per_s(self) -> float | None:
        """The rate; None if no call has ended yet, or no time has passed.

        If no call ended within the window, the rate is at most one in the time since the last.
        """
        if self._ended_at is None:
            return None
        now_s = self._clock()
        self._sample(now_s)
        rate = self._window.per_s()
        return 1 / (now_s - self._ended_at) if rate == 0 else rate

    def _sample(self, now_s: float) -> None:
        if now_s - self._sampled_at > _WINDOW_S:
            # A long idle time must not lower the rate of the calls that come after it.
            self._window.start(now_s - _WINDOW_S)
            self._ended = 0
        self._window.add(now_s, self._ended)
        self._sampled_at, self._ended = now_s, 0
