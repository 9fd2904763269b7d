"""Ending what does not end by itself after a stop. Decisions; the clock is passed in.

A handler hears of a stop in its own process and has a grace to come to its end. On
the prefork pool the child that still runs it after that is killed; no other pool has
anything that could be.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class StopGrace(Generic[K]):
    """What was told to stop, and since when (s, monotonic)."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._since: dict[K, float] = {}

    def told(self, what: K, now: float) -> None:
        """It is over; it was told so now, unless it had been before."""
        self._since.setdefault(what, now)

    def overdue(self, running: Collection[K], now: float) -> list[K]:
        """Of those running, what has had its grace; each is named once. Others are forgotten."""
        self._since = {what: since for what, since in self._since.items() if what in running}
        due = [what for what, since in self._since.items() if now - since >= self._grace_s]
        for what in due:
            self._since[what] = float("inf")
        return due
