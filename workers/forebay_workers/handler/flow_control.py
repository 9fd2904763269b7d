"""When a handler that yields must wait. Pure."""

from __future__ import annotations

from collections import deque

from forebay_backends.ledger.operations.attempts import Flow


class FlowControl:
    """Counts what was sent, read and let go.

    With a watcher, at most `window_bytes` are sent ahead of it; with or without,
    the ledger holds at most `item_limit_bytes` (one item more, where it is larger). Of
    what was read, the last is kept: a gateway has read what its caller may not have when
    that gateway dies, and asks for elsewhere.
    """

    def __init__(self, window_bytes: int, item_limit_bytes: int) -> None:
        self._window_bytes = window_bytes
        self.item_limit_bytes = item_limit_bytes
        self._margin_bytes = min(window_bytes, item_limit_bytes // 4)
        self._unread: deque[int] = deque()  # sizes of items sent and not known to be read
        self._kept: deque[int] = deque()  # sizes of items read and not let go
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
            self._kept.append(self._unread.popleft())
            self._read_bytes += self._kept[-1]

    @property
    def blocked(self) -> bool:
        """Whether the next item must wait."""
        ahead = self._sent_bytes - self._read_bytes
        held = self._sent_bytes - self._held_from_bytes
        return (self._watched and ahead > self._window_bytes) or held > self.item_limit_bytes

    def to_be_trimmed(self) -> tuple[int, int] | None:
        """Where the ledger holds too much: how many items, of how many bytes, may go."""
        held = self._sent_bytes - self._held_from_bytes
        kept = self._read_bytes - self._held_from_bytes
        over = held - self.item_limit_bytes
        if over <= 0:
            return None
        count = size = 0
        for item in self._kept:
            # Where all was read and it is too much still, nothing else would make room.
            last_resort = not self._unread and size < over
            if kept - size - item < self._margin_bytes and not last_resort:
                break
            count, size = count + 1, size + item
        if not size:
            return None  # to let go of empty items alone makes no room
        return self._read_count - len(self._kept) + count, self._held_from_bytes + size

    def trimmed(self, size: int) -> None:
        """The first items, so many bytes in all, were let go."""
        while self._kept and self._held_from_bytes < size:
            self._held_from_bytes += self._kept.popleft()
        self._held_from_bytes = size
