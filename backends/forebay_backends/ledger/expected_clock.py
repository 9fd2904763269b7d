"""The time that a process expects on the ledger's clocks: shows steps of the server's clock. Pure.

The server's clock alone can't show a step: an hour may have passed, or somebody set the clock. So a
process that sweeps a partition counts on from its last sweep with its own monotonic clock, and
tells the sweep what it expects; `lua/lib/clock.lua` compares.
"""

from __future__ import annotations

import time
from collections.abc import Callable

_VALID_S = 600.0
"""Longer ago, another process has swept since, and the clock may have been slewed by seconds."""


def boot_time_s() -> float:
    """A monotonic clock that counts the sleep of the machine, where there is one."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class ExpectedClock:
    """The clock of each partition, by this process's last sweep of it."""

    def __init__(self, monotonic_s: Callable[[], float] = boot_time_s) -> None:
        self._monotonic_s = monotonic_s
        self._read: dict[int, tuple[float, int]] = {}

    def now_ms(self, partition: int) -> int | None:
        """The time that the partition's clock should show; None where that is not known."""
        read_at_s, clock_ms = self._read.get(partition, (0.0, None))
        passed_s = self._monotonic_s() - read_at_s
        if clock_ms is None or passed_s > _VALID_S:
            return None
        return clock_ms + round(passed_s * 1000)

    def on_read(self, partition: int, clock_ms: int | None) -> None:
        """The partition's clock after a sweep; None where the sweep was in doubt."""
        if clock_ms is not None:
            self._read[partition] = self._monotonic_s(), clock_ms
