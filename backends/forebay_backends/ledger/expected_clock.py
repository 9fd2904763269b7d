"""The time that a process expects on the ledger's clock: shows steps of the server's clock. Pure.

The server's clock alone can't show a step: an hour may have passed, or somebody set the clock. So
each process that may sweep adds the time of its own monotonic clock to its last reading, and passes
the sum to the sweep; `lua/lib/clock.lua` compares.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_VALID_S = 600.0
"""An older reading is not used: since then the clock may have been slewed by seconds."""


def boot_time_s() -> float:
    """A monotonic clock; on Linux it includes the time in which the machine was suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class ExpectedClock:
    """The ledger's clock, by this process's last reading of it."""

    def __init__(self, monotonic_s: Callable[[], float] = boot_time_s) -> None:
        self._monotonic_s = monotonic_s
        self._read: tuple[float, int] | None = None

    def now_ms(self) -> int | None:
        """The time that the ledger's clock should show; None if that is not known."""
        if self._read is None:
            return None
        read_at_s, clock_ms = self._read
        passed_s = self._monotonic_s() - read_at_s
        return clock_ms + round(passed_s * 1000) if passed_s <= _VALID_S else None

    def on_read(self, clock_ms: int | None) -> None:
        """Stores a reading of the clock; None, a reading in doubt, is ignored."""
        if clock_ms is not None:
            self._read = self._monotonic_s(), clock_ms
