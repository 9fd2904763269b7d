"""Decides when a handler that yields must wait. Pure."""

from __future__ import annotations

from collections import deque

from forebay_backends.ledger.operations.attempts import Flow


class FlowControl:
    """Counts the bytes of items that were sent, read and trimmed.

    The handler must wait while it is more than `window_bytes` ahead of the fastest watcher, if
    there is one, or while the ledger stores more than `item_limit_bytes`. Each limit may thus be
    exceeded by one item. The latest items that were read stay stored: when a gateway dies, its
    callers may not have received all items that it has read, and resume at another gateway.
    """

    def __init__(self, window_bytes: int, item_limit_bytes: int) -> None:
        self._window_bytes = window_bytes
        self.item_limit_bytes = item_limit_bytes
        self._margin_bytes = min(window_bytes, item_limit_bytes // 4)
        self._unread: deque[int] = deque()  # sizes of items sent and not known to be read
        self._kept: deque[int] = deque()  # sizes of items read and not trimmed
        self._sent_bytes = 0
        self._read_bytes = 0
        self._read_count = 0
        self._credited_count = 0
        self._trimmed_bytes = 0
        self._watched = True

    def sent(self, size: int) -> None:
        """Records an item of `size` bytes."""
        self._unread.append(size)
        self._sent_bytes += size
        self.on_credit(self._credited_count)

    def on_flow(self, flow: Flow) -> None:
        """Records the ledger's state: its watchers, and how many items they have read."""
        self._watched = flow.watchers > 0
        self.on_credit(flow.read_count)

    def on_credit(self, read_count: int) -> None:
        """Records that the fastest watcher has read `read_count` items."""
        # Credit for an item may arrive before `sent` for it.
        self._credited_count = max(self._credited_count, read_count)
        while self._read_count < self._credited_count and self._unread:
            self._read_count += 1
            self._kept.append(self._unread.popleft())
            self._read_bytes += self._kept[-1]

    @property
    def blocked(self) -> bool:
        """Whether the next item must wait."""
        ahead = self._sent_bytes - self._read_bytes
        stored = self._sent_bytes - self._trimmed_bytes
        return (self._watched and ahead > self._window_bytes) or stored > self.item_limit_bytes

    def trimmable(self) -> tuple[int, int] | None:
        """Returns the count and bytes of all items that may be dropped; None if none need be.

        Both include the items that were trimmed before.
        """
        stored = self._sent_bytes - self._trimmed_bytes
        kept = self._read_bytes - self._trimmed_bytes
        excess = stored - self.item_limit_bytes
        if excess <= 0:
            return None
        count = size = 0
        for item in self._kept:
            # If all items were read and the ledger is still over its limit, drop these too.
            last_resort = not self._unread and size < excess
            if kept - size - item < self._margin_bytes and not last_resort:
                break
            count, size = count + 1, size + item
        if not size:
            return None  # trimming empty items frees nothing
        return self._read_count - len(self._kept) + count, self._trimmed_bytes + size

    def trimmed(self, size: int) -> None:
        """Records that the ledger has dropped the call's first `size` bytes."""
        while self._kept and self._trimmed_bytes < size:
            self._trimmed_bytes += self._kept.popleft()
        self._trimmed_bytes = size
