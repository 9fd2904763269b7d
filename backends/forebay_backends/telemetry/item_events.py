"""Which items of a call become events of its span. Pure."""

from __future__ import annotations

EVERY = 100


class ItemEvents:
    """Picks the first, the last and every 100th item, so that long streams do not fill a span."""

    def __init__(self) -> None:
        self._count = 0
        self._last_ns: int | None = None

    def on_item(self, now_ns: int) -> int | None:
        """Counts an item; returns its ordinal, from 0, if it becomes an event."""
        ordinal = self._count
        self._count += 1
        is_event = ordinal % EVERY == 0
        self._last_ns = None if is_event else now_ns
        return ordinal if is_event else None

    def last(self) -> tuple[int, int] | None:
        """The ordinal and time of the last item; None if it is an event already."""
        return None if self._last_ns is None else (self._count - 1, self._last_ns)
