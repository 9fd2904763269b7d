"""How fast parts are computed, and what follows from it. Pure."""

from __future__ import annotations

from forebay_backends.ledger.scripts import LEASE_S

_LEAST_PATIENCE_S = 2.0
_TIMES_SLOWER = 3.0
_PARTS_A_WORKER = 4


class Pace:
    """How long one worker takes for a part, and so how long it lets another have one."""

    def __init__(self) -> None:
        self._longest_s: float | None = None

    def took(self, seconds: float) -> None:
        """A part was computed in so many seconds."""
        self._longest_s = max(self._longest_s or 0.0, seconds)

    @property
    def patience_s(self) -> float:
        """After so long it computes the other's part itself: thrice its own longest time.

        Before it has computed any it can't tell, and waits for as long as a lease.
        """
        if self._longest_s is None:
            return LEASE_S
        return max(_LEAST_PATIENCE_S, _TIMES_SLOWER * self._longest_s)


def window(workers: int, part_bytes: int, limit_bytes: int) -> int:
    """How many parts may be ahead of the one that is next: four a worker.

    Not so many as to hold more than half of the call's limit, but two in any case.
    """
    return max(2, min(_PARTS_A_WORKER * workers, limit_bytes // 2 // max(1, part_bytes)))
