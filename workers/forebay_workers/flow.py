"""When a handler that yields must wait. Pure."""

from __future__ import annotations

from collections import deque

from forebay_ledger.operations import Flow


class FlowControl:
    """Counts what was sent, read and let go.

    With a watcher, at most `window_bytes` are sent ahead of it; with or without,
    the ledger holds at most `item_limit_bytes` (one item more, where it is larger).
    """

    def __init__(self, window_bytes: int, item_limit_bytes: int) -> None:
        self._window_bytes = window_bytes
        self._item_limit_bytes = item_limit_bytes
        self._unread: deque[int] = deque()  # sizes of items sent and not known to be read
        self._sent_bytes = 0
        self._read_bytes = 0
        self._read_count = 0
        self._credited_count = 0
        self._held_from_bytes = 0
        self._watched = True

    def sent(self, size: int) -> None:
        """An item of so many bytes went out."""
        self._unread.append(size)
        self._sent_bytes += size
        self.on_credit(self._credited_count)

    def on_flow(self, flow: Flow) -> None:
        """The ledger's word."""
        self._watched = flow.watchers > 0
        self.on_credit(flow.read_count)

    def on_credit(self, read_count: int) -> None:
        """The foremost watcher has read so many items."""
        # Credit for an item may come before the word that it was stored.
        self._credited_count = max(self._credited_count, read_count)
        while self._read_count < self._credited_count and self._unread:
            self._read_count += 1
            self._read_bytes += self._unread.popleft()

    @property
    def blocked(self) -> bool:
        """Whether the next item must wait."""
        ahead = self._sent_bytes - self._read_bytes
        held = self._sent_bytes - self._held_from_bytes
        return (self._watched and ahead > self._window_bytes) or held > self._item_limit_bytes

    def to_be_trimmed(self) -> tuple[int, int] | None:
        """Where the ledger holds too much: how many items, of how many bytes, may go."""
        held = self._sent_bytes - self._held_from_bytes
        if held <= self._item_limit_bytes or self._read_bytes <= self._held_from_bytes:
            return None
        return self._read_count, self._read_bytes

    def trimmed(self, size: int) -> None:
        """The first items, so many bytes in all, were let go."""
        self._held_from_bytes = size
