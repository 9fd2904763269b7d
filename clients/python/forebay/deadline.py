"""Deadlines, which are passed down instead of timeouts."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Deadline:
    """A point in time of the monotonic clock, in seconds; infinite if there is no bound."""

    at: float
    clock: Callable[[], float] = field(default=time.monotonic, repr=False, compare=False)

    @classmethod
    def after(cls, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> Deadline:
        """The deadline that many seconds from now; None means no bound."""
        return cls(math.inf if seconds is None else clock() + seconds, clock)

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
