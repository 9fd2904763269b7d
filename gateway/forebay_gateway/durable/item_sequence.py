"""The order in which a call's items go to one caller. Pure: events in, actions out.

Small items arrive whole by pub/sub. Large items, and items that arrived while the caller was
slow or while pub/sub was disconnected, are fetched from the ledger by ordinal. A lost pub/sub
frame therefore costs one fetch but loses no item, and a slow caller uses bounded memory.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from forebay.errors import ItemsLost
from forebay_backends.ledger.frames import (
    CallEvent,
    Ending,
    Initial,
    Item,
    ItemsStored,
    TransientItem,
)
from forebay_backends.ledger.operations.calls import CallSnapshot

BUFFER_BYTES = 1 << 20
"""Published items are buffered up to this size; later ones are fetched from the ledger."""
FETCH_BYTES = 2 << 20
"""The target size of one fetch."""


@dataclass(frozen=True)
class Send:
    """Send a message to the caller; a transient one is not stored."""

    payload: bytes
    is_transient: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Fetch:
    """Read `count` items from the ledger, from ordinal `first` on."""

    first: int
    count: int


@dataclass(frozen=True)
class Wait:
    """Do nothing until the next event."""


@dataclass(frozen=True)
class Done:
    """All items were sent, and the call has ended."""

    ending: Ending


Action = Send | Fetch | Wait | Done


class ByteBudget(Protocol):
    """The gateway's limit on buffered bytes, for example an admission `Permit`."""

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""

    def hold(self, size: int) -> None:
        """Reserves `size` bytes; a negative size releases them."""


class _UnlimitedBudget:
    def has_room(self, size: int) -> bool:
        return True

    def hold(self, size: int) -> None:
        pass


def items_per_fetch(stored_count: int, stored_bytes: int) -> int:
    """How many items of average size make up `FETCH_BYTES`; at least one."""
    average_bytes = max(1, stored_bytes // stored_count)
    return max(1, FETCH_BYTES // average_bytes)


class ItemSequence:
    """The items of one call, in the order in which one caller gets them.

    The first `resume_from` items were sent to the caller earlier.
    """

    def __init__(self, resume_from: int = 0, budget: ByteBudget | None = None) -> None:
        self._budget = budget or _UnlimitedBudget()
        self.credit_window_bytes = 0
        """How many bytes the handler may emit before a reader must send credit."""
        self._ready: deque[tuple[bool, bytes]] = deque()  # (is it stored in the ledger?, payload)
        self._ready_bytes = 0
        self._sending_bytes = 0
        self._prefetch_bytes = 0
        self._next_ordinal = resume_from  # of the item to append to `_ready` next
        self._stored_count = resume_from  # items that the ledger has, by the latest event
        self._stored_bytes = 0
        self.ending: Ending | None = None
        """How the call ended; None until then."""
        self.initial_metadata: bytes | None = None
        self.read_count = resume_from
        self._uncredited_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to send or fetch yet."""
        return not self._ready and self._stored_count <= self._next_ordinal and self.ending is None

    @property
    def next_ordinal(self) -> int:
        """The ordinal of the next item to receive; the ledger has stored all items before it."""
        return self._next_ordinal

    def on_event(self, event: CallEvent) -> None:
        """Applies an event from pub/sub."""
        match event:
            case Item(ordinal, payload):
                self._on_item(ordinal, payload)
            case ItemsStored(count, sent):
                self._on_stored(count, sent)
            case TransientItem(payload):
                self._append_transient(payload)
            case Initial(payload):
                self.initial_metadata = payload
            case Ending():
                if event.response is not None:
                    self._on_item(0, event.response)
                self._on_stored(event.count, self._stored_bytes)
                self.ending = event

    def attach(self, snapshot: CallSnapshot) -> None:
        """Applies the snapshot of a call that the caller attaches to.

        The snapshot's transient item is sent, too: the caller has not seen it. Raises ItemsLost
        if the caller has read more items than the ledger has.
        """
        if self.read_count > snapshot.count:
            raise ItemsLost(
                f"the ledger has {snapshot.count} items of this call, "
                f"the caller has read {self.read_count}"
            )
        self.credit_window_bytes = snapshot.ahead_bytes
        self.on_snapshot(snapshot)
        if snapshot.transient and snapshot.ending is None:
            self._append_transient(snapshot.transient)

    def on_snapshot(self, snapshot: CallSnapshot) -> None:
        """Applies a snapshot from the ledger, which replaces events that pub/sub lost.

        The snapshot may be older than the latest event. Raises ItemsLost if the ledger has
        dropped items that were not sent yet.
        """
        if self._next_ordinal < snapshot.first:
            raise ItemsLost(f"the first {snapshot.first} items of this call are no longer kept")
        self._on_stored(snapshot.count, snapshot.sent)
        if self.initial_metadata is None and snapshot.initial:
            self.initial_metadata = snapshot.initial
        if snapshot.ending is not None:
            self.ending = snapshot.ending

    def on_fetched(self, items: list[tuple[int, bytes]]) -> None:
        """Appends fetched items; raises ItemsLost if the next item is not among them."""
        self._budget.hold(-self._prefetch_bytes)
        self._prefetch_bytes = 0
        for ordinal, payload in items:
            if ordinal == self._next_ordinal:
                self._append(payload)
            elif ordinal > self._next_ordinal:
                break
        if not items or items[-1][0] + 1 > self._next_ordinal:
            raise ItemsLost(f"item {self._next_ordinal} of this call is no longer in the ledger")

    def next_credit(self, *, idle: bool = False) -> int | None:
        """The number of read items to report to the handler as credit; None if not due.

        Credit is due when half of the credit window was read or, if the RPC is `idle`, when
        any byte was.
        """
        if self.ending is not None:
            return None  # the handler has ended and needs no credit
        due = self._uncredited_bytes * 2 >= self.credit_window_bytes or idle
        if not (self._uncredited_bytes and due):
            return None
        self._uncredited_bytes = 0
        return self.read_count

    def next_action(self) -> Action:
        """The next step. Call this only when the message of the previous `Send` was sent."""
        self._budget.hold(-self._sending_bytes)
        self._sending_bytes = 0
        if self._ready:
            is_stored, payload = self._ready.popleft()
            if is_stored:
                self._ready_bytes -= len(payload)
                self._sending_bytes = len(payload)
                self.read_count += 1
                self._uncredited_bytes += len(payload)
            return Send(payload, is_transient=not is_stored)
        if self._stored_count > self._next_ordinal:
            has_room = self._budget.has_room(FETCH_BYTES)
            return self._fetch() if has_room else Fetch(self._next_ordinal, 1)
        if self.ending is not None:
            return Done(self.ending)
        return Wait()

    def prefetch(self) -> Fetch | None:
        """The fetch to start while the last ready items are being sent; None if not due."""
        if self._prefetch_bytes or self._stored_count == self._next_ordinal:
            return None
        if self._ready_bytes >= FETCH_BYTES or not self._budget.has_room(FETCH_BYTES):
            return None
        self._prefetch_bytes = FETCH_BYTES
        self._budget.hold(FETCH_BYTES)
        return self._fetch()

    def _fetch(self) -> Fetch:
        most = items_per_fetch(self._stored_count, self._stored_bytes)
        return Fetch(self._next_ordinal, min(self._stored_count - self._next_ordinal, most))

    def _on_item(self, ordinal: int, payload: bytes) -> None:
        if ordinal >= self._stored_count:
            self._on_stored(ordinal + 1, self._stored_bytes + len(payload))
        if ordinal == self._next_ordinal and self._has_room(len(payload)):
            self._append(payload)

    def _on_stored(self, count: int, size: int) -> None:
        self._stored_count = max(self._stored_count, count)
        self._stored_bytes = max(self._stored_bytes, size)

    def _append(self, payload: bytes) -> None:
        self._ready.append((True, payload))
        self._ready_bytes += len(payload)
        self._budget.hold(len(payload))
        self._next_ordinal += 1

    def _has_room(self, size: int) -> bool:
        if self._ready_bytes >= BUFFER_BYTES:
            return False
        return not self._ready or self._budget.has_room(size)

    def _append_transient(self, payload: bytes) -> None:
        """Appends a transient item; replaces the last ready item if that is transient, too."""
        if self._ready and not self._ready[-1][0]:
            self._ready.pop()
        self._ready.append((False, payload))
