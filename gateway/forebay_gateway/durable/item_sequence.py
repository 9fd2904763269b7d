"""Which item goes to a caller next. Pure: events in, decisions out.

Small items come by pub/sub, whole; large ones, and any that came while the
caller was slow or pub/sub was away, are fetched from the ledger by ordinal. So a
lost frame costs a fetch and never an item, and what waits for a slow caller is
bounded.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
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
"""Bytes of published items that wait for the caller before the rest is left to the ledger."""
FETCH_BYTES = 2 << 20
"""About how much one fetch brings."""


@dataclass(frozen=True)
class Send:
    """A message for the caller."""

    payload: bytes


@dataclass(frozen=True)
class Fetch:
    """Items to be read from the ledger: `count` from ordinal `first` on."""

    first: int
    count: int


@dataclass(frozen=True)
class Wait:
    """Nothing to do until an event."""


@dataclass(frozen=True)
class Done:
    """All items have gone out, and the call has ended."""

    ending: Ending


Decision = Send | Fetch | Wait | Done


class Held(Protocol):
    """Who counts the bytes that wait here."""

    def has_room(self, size: int) -> bool:
        """Whether so many bytes more fit."""

    def hold(self, size: int) -> None:
        """Counts bytes, or counts them off where negative."""


class _Uncounted:
    def has_room(self, size: int) -> bool:
        return True

    def hold(self, size: int) -> None:
        pass


class ItemSequence:
    """The items of one call on their way to one caller."""

    def __init__(self, resume_from: int = 0, held: Held | None = None) -> None:
        self._held = held or _Uncounted()
        self.ahead_bytes = 0
        """How far the handler may run ahead of its readers."""
        self._ready: deque[tuple[bool, bytes]] = deque()  # lasting?, payload
        self._ready_bytes = 0
        self._sending_bytes = 0
        self._awaited_bytes = 0  # of a page that is read ahead
        self._tail = resume_from  # the ordinal after the last ready one
        self._known = resume_from  # items that the ledger is known to hold
        self._known_bytes = 0
        self.ending: Ending | None = None
        """How the call ended, once that is known."""
        self.initial: bytes | None = None
        self.read_count = resume_from
        self._unacknowledged_bytes = 0

    @property
    def idle(self) -> bool:
        """Whether there is nothing yet to be said to the caller."""
        return not self._ready and self._known <= self._tail and self.ending is None

    @property
    def tail(self) -> int:
        """How many lasting items came here, or were seen before: the ledger has had them."""
        return self._tail

    def on_event(self, event: CallEvent) -> None:
        """Takes what pub/sub says."""
        match event:
            case Item(ordinal, payload):
                if ordinal >= self._known:
                    self._know(ordinal + 1, self._known_bytes + len(payload))
                if ordinal == self._tail and self._has_room(len(payload)):
                    self._append(payload)
            case ItemsStored(count, sent):
                self._know(count, sent)
            case TransientItem(payload):
                self._push_transient(payload)
            case Initial(payload):
                self.initial = payload
            case Ending():
                self._know(event.count, self._known_bytes)
                self.ending = event

    def attach(self, snapshot: CallSnapshot) -> None:
        """Takes the ledger's word at attaching: the latest transient item is news, too.

        Raises ItemsLost where the caller has seen more than there is.
        """
        if self.read_count > snapshot.count:
            raise ItemsLost(
                f"the ledger has {snapshot.count} items of this call, "
                f"the caller saw {self.read_count}"
            )
        self.ahead_bytes = snapshot.ahead_bytes
        self.on_snapshot(snapshot)
        if snapshot.transient and snapshot.ending is None:
            self._push_transient(snapshot.transient)

    def on_snapshot(self, snapshot: CallSnapshot) -> None:
        """Takes the ledger's word, now and then, since pub/sub loses; it may be a bit old.

        Raises ItemsLost where items that did not go out yet are gone.
        """
        if self._tail < snapshot.first:
            raise ItemsLost(f"the first {snapshot.first} items of this call are no longer kept")
        self._know(snapshot.count, snapshot.sent)
        if self.initial is None and snapshot.initial:
            self.initial = snapshot.initial
        if snapshot.ending is not None:
            self.ending = snapshot.ending

    def on_fetched(self, items: list[tuple[int, bytes]]) -> None:
        """Takes items from the ledger; raises ItemsLost where they are not the next."""
        self._held.hold(-self._awaited_bytes)
        self._awaited_bytes = 0
        for ordinal, payload in items:
            if ordinal == self._tail:
                self._append(payload)
            elif ordinal > self._tail:
                break
        if not items or items[-1][0] + 1 > self._tail:
            raise ItemsLost(f"item {self._tail} of this call is no longer in the ledger")

    def acknowledge(self, *, idle: bool = False) -> int | None:
        """How many items to say were read, where it is time to: half of what the handler
        may run ahead or, where nothing else happens, any.
        """
        if self.ending is not None:
            return None  # no handler waits any more
        due = self._unacknowledged_bytes * 2 >= self.ahead_bytes or idle
        if not (self._unacknowledged_bytes and due):
            return None
        self._unacknowledged_bytes = 0
        return self.read_count

    def take(self) -> Decision:
        """What to do next; what was sent before is with the caller by now."""
        self._held.hold(-self._sending_bytes)
        self._sending_bytes = 0
        if self._ready:
            lasting, payload = self._ready.popleft()
            if lasting:
                self._ready_bytes -= len(payload)
                self._sending_bytes = len(payload)
                self.read_count += 1
                self._unacknowledged_bytes += len(payload)
            return Send(payload)
        if self._known > self._tail:
            return self._fetch() if self._held.has_room(FETCH_BYTES) else Fetch(self._tail, 1)
        if self.ending is not None:
            return Done(self.ending)
        return Wait()

    def read_ahead(self) -> Fetch | None:
        """What to fetch while the rest of what is ready goes out: little is left of that."""
        if self._awaited_bytes or self._known == self._tail or self._ready_bytes >= FETCH_BYTES:
            return None
        if not self._held.has_room(FETCH_BYTES):
            return None
        self._awaited_bytes = FETCH_BYTES
        self._held.hold(FETCH_BYTES)
        return self._fetch()

    def _fetch(self) -> Fetch:
        average = max(1, self._known_bytes // self._known)
        return Fetch(self._tail, min(self._known - self._tail, max(1, FETCH_BYTES // average)))

    def _know(self, count: int, sent: int) -> None:
        self._known = max(self._known, count)
        self._known_bytes = max(self._known_bytes, sent)

    def _append(self, payload: bytes) -> None:
        self._ready.append((True, payload))
        self._ready_bytes += len(payload)
        self._held.hold(len(payload))
        self._tail += 1

    def _has_room(self, size: int) -> bool:
        return self._ready_bytes < BUFFER_BYTES and (not self._ready or self._held.has_room(size))

    def _push_transient(self, payload: bytes) -> None:
        if self._ready and not self._ready[-1][0]:
            self._ready.pop()
        self._ready.append((False, payload))
