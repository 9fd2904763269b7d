"""Ephemeral calls whose callers have left before anyone said that it has them. Pure."""

from __future__ import annotations

from collections import OrderedDict

KEPT_S = 600.0
_MOST = 100_000


class AbandonedCalls:
    """Remembers so many ids for so long (s, monotonic); their messages are passed over."""

    def __init__(self, kept_s: float = KEPT_S, most: int = _MOST) -> None:
        self._kept_s = kept_s
        self._most = most
        self._at: OrderedDict[str, float] = OrderedDict()

    def add(self, call_id: str, now: float) -> None:
        """The call's caller has left."""
        self._at[call_id] = now
        while self._at and (len(self._at) > self._most or self._oldest + self._kept_s < now):
            self._at.popitem(last=False)

    def __contains__(self, call_id: str) -> bool:
        return call_id in self._at

    @property
    def _oldest(self) -> float:
        return next(iter(self._at.values()))
