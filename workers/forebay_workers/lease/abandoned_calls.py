"""Ephemeral calls whose callers disconnected before a worker sent a heartbeat for them. Pure."""

from __future__ import annotations

from collections import OrderedDict

from forebay_backends.ledger.keys import CallKey

RETENTION_S = 600.0
_MAX_COUNT = 100_000


class AbandonedCalls:
    """The keys of abandoned calls, whose messages workers skip. Bounded in age and number."""

    def __init__(self, retention_s: float = RETENTION_S, max_count: int = _MAX_COUNT) -> None:
        self._retention_s = retention_s
        self._max_count = max_count
        self._abandoned_at: OrderedDict[CallKey, float] = OrderedDict()

    def add(self, call: CallKey, now: float) -> None:
        """Adds a call at the time `now` (s, monotonic); drops those that are too old or many."""
        self._abandoned_at[call] = now
        while self._abandoned_at and (
            len(self._abandoned_at) > self._max_count or self._oldest + self._retention_s < now
        ):
            self._abandoned_at.popitem(last=False)

    def __contains__(self, call: CallKey) -> bool:
        return call in self._abandoned_at

    @property
    def _oldest(self) -> float:
        return next(iter(self._abandoned_at.values()))
