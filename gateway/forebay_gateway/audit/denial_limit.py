"""Limits how many denials get an entry of their own, so that nobody can fill the disk. Pure."""

from __future__ import annotations

from collections import Counter

EACH = 10
ALL = 200
_MOST_PEERS = 1000

OTHERS = ""
"""Stands for the peers beyond those that are counted one by one."""


class DenialLimit:
    """Limits the entries of denials in a window of time: for each peer, and in all.

    The others are only counted. So one peer's flood leaves room for the entries of others.
    """

    def __init__(self) -> None:
        self._written: Counter[str] = Counter()
        self._omitted: Counter[str] = Counter()

    def admits(self, peer: str) -> bool:
        """Whether the denial gets an entry; counts it in any case."""
        if self._written[peer] < EACH and self._written.total() < ALL:
            self._written[peer] += 1
            return True
        is_counted = peer in self._omitted or len(self._omitted) < _MOST_PEERS
        self._omitted[peer if is_counted else OTHERS] += 1
        return False

    def next_window(self) -> dict[str, int]:
        """Begins a window; returns how many denials of each peer got no entry in the last."""
        omitted = dict(self._omitted)
        self._written.clear()
        self._omitted.clear()
        return omitted
