"""How long a refused caller is told to wait. Pure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from math import exp

LEAST_S, MOST_S = 0.1, 60.0
UNKNOWN_S = 1.0
"""Where there is nothing to estimate from."""
_SPREAD = 0.25
_AVERAGED_S = 10.0


def retry_after_s(estimate_s: float | None, chance: Callable[[], float] = random.random) -> float:
    """The estimate within bounds, and up to a quarter more: who were refused together
    must not come back together.
    """
    seconds = UNKNOWN_S if estimate_s is None else estimate_s
    return min(max(seconds, LEAST_S) * (1 + _SPREAD * chance()), MOST_S)


class CompletionRate:
    """How many calls end a second, of late: an average whose weights fade over 10 s."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = self._at = clock()
        self._ended = 0.0

    def ended(self) -> None:
        """A call has ended."""
        now = self._clock()
        self._ended = self._ended * exp((self._at - now) / _AVERAGED_S) + 1
        self._at = now

    def per_s(self) -> float:
        """Calls a second; 0 where none has ended for long."""
        now = self._clock()
        weight = _AVERAGED_S * (1 - exp((self._since - now) / _AVERAGED_S))
        return self._ended * exp((self._at - now) / _AVERAGED_S) / weight if weight else 0.0
