"""Deadlines, which are passed down instead of timeouts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

LONGEST_S = 100 * 365 * 24 * 3600.0
"""100 years. Longer times count as infinite if that is allowed, and otherwise as 100 years.

The limit is needed because a caller can send `grpc-timeout: 99999999H`, which is 11,000 years. A
time of 100 years from now overflows nowhere: 64-bit nanoseconds since 1970 end in 2262,
`threading.TIMEOUT_MAX` is 292 years, and Lua prints numbers with 14 digits.
"""


def clamped_s(seconds: float) -> float:
    """The time, but at most `LONGEST_S`; raises ValueError for NaN."""
    if math.isnan(seconds):
        raise ValueError("expected a number of seconds, got NaN")
    return min(seconds, LONGEST_S)


@dataclass(frozen=True)
class Deadline:
    """A point in time on the monotonic clock, in seconds; infinite if there is no bound."""

    at: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """A deadline that many seconds from now; infinite for None, and for `LONGEST_S` or more.

        Raises ValueError for NaN.
        """
        if seconds is None or clamped_s(seconds) == LONGEST_S:
            return cls(math.inf, clock)
        return cls(clock() + seconds, clock)

    def remaining_s(self) -> float:
        """Seconds left, at least 0; infinity if there is no bound."""
        return max(0.0, self.at - self.clock())

    @property
    def passed(self) -> bool:
        """Whether no time is left."""
        return self.remaining_s() == 0.0

    def timeout_s(self) -> float | None:
        """Seconds left as gRPC's `timeout`: None if there is no bound."""
        return None if math.isinf(self.at) else self.remaining_s()

    def sooner(self, seconds: float) -> Deadline:
        """The earlier of this deadline and that many seconds from now."""
        return Deadline(min(self.at, self.clock() + seconds), self.clock)
