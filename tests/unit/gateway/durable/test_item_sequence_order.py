"""Every item is sent in order, exactly once, whatever pub/sub loses."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from forebay_backends.ledger.frames import CallEvent, Ending, Item, ItemsStored, TransientItem
from forebay_backends.ledger.operations.calls import CallSnapshot
from forebay_gateway.durable.item_sequence import Done, Fetch, ItemSequence, Send, Wait
from tests.unit.samples import ending, snapshot

_TRANSIENT = b"transient"


class Budget:
    """A budget that is sometimes used up."""

    def __init__(self) -> None:
        self.size = 0
        self.room = True

    def has_room(self, size: int) -> bool:
        return self.room

    def hold(self, size: int) -> None:
        self.size += size


class LossyChannel(RuleBasedStateMachine):
    """A ledger, a channel that loses frames, and a caller that reconnects."""

    def __init__(self) -> None:
        super().__init__()
        self.items: list[bytes] = []
        self.ending: Ending | None = None
        self.channel: deque[CallEvent] = deque()
        self.budget = Budget()
        self.sequence = ItemSequence(budget=self.budget)
        self.fetch: Fetch | None = None
        self.waits = False  # for the fetch, with nothing else to send
        self.received: list[bytes] = []
        self.done = False

    def _snapshot(self) -> CallSnapshot:
        sent = sum(len(item) for item in self.items)
        return snapshot(count=len(self.items), sent=sent, ending=self.ending)

    def _fetched(self, count: int) -> list[tuple[int, bytes]]:
        assert self.fetch is not None
        first, self.fetch, self.waits = self.fetch.first, None, False
        return list(enumerate(self.items))[first : first + count]

    def _take(self) -> None:
        match self.sequence.next_action():
            case Send(payload):
                if payload != _TRANSIENT:
                    self.received.append(payload)
            case Fetch() as fetch:
                self.fetch = self.fetch or fetch  # a prefetch comes first
                self.waits = True
            case Done(end):
                assert end == self.ending
                self.done = True
            case Wait():
                pass

    @rule(room=st.booleans())
    def room_comes_and_goes(self, room: bool) -> None:
        self.budget.room = room

    @invariant()
    def buffered_bytes_are_counted(self) -> None:
        sequence = self.sequence
        waiting = sequence._ready_bytes + sequence._sending_bytes + sequence._prefetch_bytes
        assert self.budget.size == waiting >= 0

    @precondition(lambda self: self.ending is None)
    @rule(size=st.sampled_from([6, 1000, 600_000]), announced=st.booleans())
    def emit(self, size: int, announced: bool) -> None:
        """The worker stores an item, and publishes or announces it."""
        ordinal = len(self.items)
        self.items.append(str(ordinal).encode().ljust(size))
        more = ItemsStored(ordinal + 1, sum(len(item) for item in self.items))
        self.channel.append(more if announced else Item(ordinal, self.items[-1]))

    @precondition(lambda self: self.ending is None)
    @rule()
    def emit_transient(self) -> None:
        """The worker publishes a transient item."""
        self.channel.append(TransientItem(_TRANSIENT))

    @precondition(lambda self: self.ending is None)
    @rule()
    def end(self) -> None:
        """The handler ends."""
        self.ending = ending(count=len(self.items))
        self.channel.append(self.ending)

    @precondition(lambda self: self.channel)
    @rule(lost=st.booleans())
    def frame(self, lost: bool) -> None:
        """Delivers or loses the next frame."""
        event = self.channel.popleft()
        if not lost:
            self.sequence.on_event(event)

    @precondition(lambda self: not self.waits)
    @rule()
    def renew(self) -> None:
        """The gateway renews its watch."""
        self.sequence.on_snapshot(self._snapshot())

    @precondition(lambda self: not self.waits)
    @rule()
    def take(self) -> None:
        """The caller reads a message."""
        self._take()

    @precondition(lambda self: self.fetch is None)
    @rule()
    def read_ahead(self) -> None:
        """The gateway prefetches while a message is being sent."""
        self.fetch = self.sequence.prefetch()

    @precondition(lambda self: self.fetch is not None)
    @rule(data=st.data())
    def fetch_returns(self, data: st.DataObject) -> None:
        """The ledger returns all requested items, or fewer."""
        assert self.fetch is not None
        count = data.draw(st.integers(1, self.fetch.count))
        self.sequence.on_fetched(self._fetched(count))

    @rule(receives=st.booleans())
    def resume_elsewhere(self, receives: bool) -> None:
        """The gateway dies; the caller resumes at another one."""
        self.fetch, self.waits, self.done = None, False, False
        self.budget.size = 0
        self.sequence = ItemSequence(len(self.received), self.budget)
        if not receives:
            self.channel.clear()
        while self.channel:
            self.sequence.on_event(self.channel.popleft())
        self.sequence.attach(self._snapshot())

    @invariant()
    def what_was_received_is_the_beginning_of_what_was_emitted(self) -> None:
        """In order, exactly once, and done only at the end."""
        assert self.received == self.items[: len(self.received)]
        assert self.sequence.read_count == len(self.received)
        assert not self.done or self.received == self.items

    def teardown(self) -> None:
        """After the call has ended and the watch was renewed, no item is missing."""
        if self.ending is None:
            self.end()
        if self.fetch is not None:
            self.sequence.on_fetched(self._fetched(self.fetch.count))
        self.sequence.on_snapshot(self._snapshot())
        while not self.done:
            self._take()
            if self.fetch is not None:
                self.sequence.on_fetched(self._fetched(self.fetch.count))
        assert self.received == self.items


TestEveryItemIsSentInOrderExactlyOnce = LossyChannel.TestCase
TestEveryItemIsSentInOrderExactlyOnce.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
