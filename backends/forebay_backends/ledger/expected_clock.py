"""The time that a process expects on the ledger's clock: shows steps of the server's clock. Pure.

The server's clock alone can't show a step: an hour may have passed, or somebody set the clock. So
each process adds the time of its own monotonic clock to its last reading, and sends the sum with
each operation; `lua/lib/clock.lua` compares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.operations.base import Operation

_FRESH_S = 20.0
"""The ledger's clock is slewed by one part in 200, so it differs by 0.1 s at most until then."""
DOUBT_POLL_S = 0.1
"""How often a process reads a clock that is in doubt; the reaper settles it within 4 s."""


def clock_in_doubt() -> BackendUnavailable:
    """The error of an operation that has waited for the clock to be settled."""
    message = "the ledger's clock is in doubt: no gateway and no worker has settled it"
    return BackendUnavailable(message, retry_after_s=1.0)


_BOOT_TIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_time_s() -> float:
    """A monotonic clock; on Linux it includes the time in which the machine was suspended."""
    return time.clock_gettime(_BOOT_TIME)


class ExpectedClock:
    """The ledger's clock, by this process's last reading of it. Threads may share one."""

    def __init__(self, monotonic_s: Callable[[], float] = boot_time_s) -> None:
        self._monotonic_s = monotonic_s
        self._read: tuple[float, int] | None = None

    def now_ms(self) -> int | None:
        """The time that the ledger's clock should show; None before the first reading."""
        if self._read is None:
            return None
        read_at_s, clock_ms = self._read
        return clock_ms + round((self._monotonic_s() - read_at_s) * 1000)

    @property
    def is_fresh(self) -> bool:
        """Whether the last reading is recent; an older one still tells a step from an outage."""
        return self._read is not None and self._monotonic_s() - self._read[0] < _FRESH_S

    def needs_reading(self, operations: Sequence[Operation[Any]]) -> bool:
        """Whether the ledger's clock must be read before these operations.

        Not if the last reading is recent, nor for operations that themselves settle the clock.
        """
        settles = operations and all(operation.settles_clock for operation in operations)
        return not (self.is_fresh or settles)

    def on_read(self, clock_ms: int) -> None:
        """Stores a reading of the clock that is not in doubt."""
        self._read = self._monotonic_s(), clock_ms
