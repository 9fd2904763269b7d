"""The item sequence, case by case."""

from __future__ import annotations

import pytest

from forebay.errors import ItemsLost
from forebay_backends.ledger.frames import Initial, Item, ItemsStored, TransientItem
from forebay_gateway.durable.item_sequence import (
    BUFFER_BYTES,
    FETCH_BYTES,
    Done,
    Fetch,
    ItemSequence,
    Send,
    Wait,
)
from tests.unit.samples import ending, snapshot


class Budget:
    """A budget without a limit, which counts."""

    def __init__(self) -> None:
        self.size = 0

    def has_room(self, size: int) -> bool:
        return True

    def hold(self, size: int) -> None:
        self.size += size


class NoRoom(Budget):
    """A budget that is used up."""

    def has_room(self, size: int) -> bool:
        return False


def test_published_items_are_sent_in_order() -> None:
    items = ItemSequence()
    assert items.next_action() == Wait()
    items.on_event(Item(0, b"a"))
    items.on_event(Item(1, b"b"))
    assert [items.next_action() for _ in range(3)] == [Send(b"a"), Send(b"b"), Wait()]


def test_a_call_is_done_after_its_last_item() -> None:
    items = ItemSequence()
    end = ending(count=1)
    items.on_event(Item(0, b"a"))
    items.on_event(end)
    assert [items.next_action() for _ in range(3)] == [Send(b"a"), Done(end), Done(end)]


def test_announced_items_are_fetched() -> None:
    items = ItemSequence()
    items.on_event(ItemsStored(count=2, sent=20))
    assert items.next_action() == Fetch(0, 2)
    items.on_fetched([(0, b"a"), (1, b"b")])
    assert [items.next_action() for _ in range(3)] == [Send(b"a"), Send(b"b"), Wait()]


def test_a_lost_frame_costs_a_fetch_and_no_item() -> None:
    items = ItemSequence()
    items.on_event(Item(1, b"b"))
    assert items.next_action() == Fetch(0, 2)
    items.on_fetched([(0, b"a"), (1, b"b")])
    assert [items.next_action() for _ in range(3)] == [Send(b"a"), Send(b"b"), Wait()]


def test_items_whose_frames_were_lost_are_fetched_at_the_ending() -> None:
    items = ItemSequence()
    items.on_event(ending(count=3))
    assert items.next_action() == Fetch(0, 3)


def test_a_snapshot_replaces_all_frames_where_they_were_lost() -> None:
    items = ItemSequence()
    end = ending(count=1)
    items.on_snapshot(snapshot(count=1, sent=1, ending=end))
    assert items.next_action() == Fetch(0, 1)
    items.on_fetched([(0, b"a")])
    assert [items.next_action() for _ in range(2)] == [Send(b"a"), Done(end)]


def test_an_item_received_twice_is_sent_once() -> None:
    items = ItemSequence()
    for _ in range(2):
        items.on_event(Item(0, b"a"))
    items.on_fetched([(0, b"a")])
    assert [items.next_action() for _ in range(2)] == [Send(b"a"), Wait()]


def test_items_published_during_a_fetch_are_sent_once() -> None:
    items = ItemSequence()
    items.on_snapshot(snapshot(count=1, sent=1))
    assert items.next_action() == Fetch(0, 1)
    items.on_event(Item(0, b"a"))
    items.on_event(Item(1, b"b"))
    items.on_fetched([(0, b"a"), (1, b"b"), (2, b"c")])
    assert [items.next_action() for _ in range(3)] == [Send(b"a"), Send(b"b"), Send(b"c")]


def test_the_buffer_for_a_slow_caller_is_bounded_and_later_items_are_fetched() -> None:
    items = ItemSequence()
    half = bytes(BUFFER_BYTES // 2)
    for ordinal in range(5):
        items.on_event(Item(ordinal, half))
    assert [type(items.next_action()) for _ in range(2)] == [Send, Send]
    fetch = items.next_action()
    assert isinstance(fetch, Fetch)
    assert fetch.first == 2


def test_a_fetch_asks_for_as_many_items_as_make_up_its_size() -> None:
    items = ItemSequence()
    size = FETCH_BYTES // 4
    items.on_event(ItemsStored(count=100, sent=100 * size))
    assert items.next_action() == Fetch(0, 4)


def test_a_fetch_asks_for_at_least_one_item() -> None:
    items = ItemSequence()
    items.on_event(ItemsStored(count=3, sent=30 * FETCH_BYTES))
    assert items.next_action() == Fetch(0, 1)


def test_the_next_page_is_prefetched_while_the_last_items_are_sent() -> None:
    items = ItemSequence()
    half = bytes(FETCH_BYTES // 2)
    items.on_event(ItemsStored(count=5, sent=5 * len(half)))
    assert items.next_action() == Fetch(0, 2)
    items.on_fetched([(0, half), (1, half)])
    assert items.prefetch() is None, "a page is ready already"
    items.next_action()
    assert items.prefetch() == Fetch(2, 2)
    assert items.prefetch() is None, "a page is being fetched already"
    items.on_fetched([(2, half), (3, half)])
    assert [type(items.next_action()) for _ in range(3)] == [Send] * 3
    assert items.prefetch() == Fetch(4, 1)


def test_nothing_is_prefetched_without_stored_items_or_without_room() -> None:
    assert ItemSequence().prefetch() is None
    full = ItemSequence(budget=NoRoom())
    full.on_event(ItemsStored(count=2, sent=2))
    assert full.prefetch() is None


def test_a_prefetch_is_reserved_in_the_budget_until_it_arrives() -> None:
    budget = Budget()
    items = ItemSequence(budget=budget)
    items.on_event(ItemsStored(count=1, sent=4))
    items.prefetch()
    assert budget.size == FETCH_BYTES
    items.on_fetched([(0, b"item")])
    assert budget.size == 4


def test_resuming_starts_after_the_items_that_were_read() -> None:
    items = ItemSequence(resume_from=2)
    items.attach(snapshot(count=3, sent=3))
    assert items.next_action() == Fetch(2, 1)
    items.on_fetched([(2, b"c")])
    assert items.next_action() == Send(b"c")
    assert items.read_count == 3


def test_resuming_a_finished_call_after_its_last_item_is_done_at_once() -> None:
    items = ItemSequence(resume_from=3)
    end = ending(count=3)
    items.attach(snapshot(count=3, ending=end))
    assert items.next_action() == Done(end)


@pytest.mark.parametrize(
    ("resume_from", "count", "first"),
    [(4, 3, 0), (1, 0, 0), (0, 3, 1), (1, 3, 2)],
    ids=["read more than there are", "the ledger lost all", "trimmed", "trimmed past the caller"],
)
def test_attaching_raises_items_lost_where_the_ledger_lacks_items(
    resume_from: int, count: int, first: int
) -> None:
    items = ItemSequence(resume_from)
    with pytest.raises(ItemsLost):
        items.attach(snapshot(count=count, first=first))


def test_the_ledger_may_drop_items_that_are_ready_to_send() -> None:
    items = ItemSequence()
    items.on_event(Item(0, b"a"))
    items.on_snapshot(snapshot(count=1, first=1))
    assert items.next_action() == Send(b"a")


@pytest.mark.parametrize("fetched", [[], [(1, b"b")], [(0, b"a"), (2, b"c")]])
def test_a_fetch_with_a_gap_raises_items_lost(fetched: list[tuple[int, bytes]]) -> None:
    items = ItemSequence()
    items.on_event(ItemsStored(count=3, sent=3))
    with pytest.raises(ItemsLost):
        items.on_fetched(fetched)


def test_of_consecutive_transient_items_only_the_latest_is_sent() -> None:
    items = ItemSequence()
    items.on_event(TransientItem(b"10%"))
    items.on_event(Item(0, b"a"))
    for text in (b"20%", b"30%", b"40%"):
        items.on_event(TransientItem(text))
    taken = [items.next_action() for _ in range(4)]
    assert taken == [Send(b"10%"), Send(b"a"), Send(b"40%"), Wait()]


def test_transient_items_need_no_credit_and_are_not_counted() -> None:
    items = ItemSequence()
    items.on_event(TransientItem(b"10%"))
    items.on_event(Item(0, b"abc"))
    items.next_action()
    assert (items.read_count, items.next_credit(idle=True)) == (0, None)
    items.next_action()
    assert (items.read_count, items.next_credit(idle=True)) == (1, 1)
    assert items.next_credit(idle=True) is None


def test_credit_is_due_at_half_of_the_credit_window() -> None:
    items = ItemSequence()
    items.credit_window_bytes = 10
    for ordinal in range(4):
        items.on_event(Item(ordinal, b"abc"))
    reported = []
    for _ in range(4):
        items.next_action()
        reported.append(items.next_credit())
    assert reported == [None, 2, None, 4]


def test_the_size_of_a_fetch_is_estimated_from_published_items() -> None:
    items = ItemSequence()
    for ordinal in range(200):
        items.on_event(Item(ordinal, bytes(64 << 10)))
    while isinstance(decision := items.next_action(), Send):
        pass
    assert isinstance(decision, Fetch)
    assert decision.count * (64 << 10) <= FETCH_BYTES


def test_the_transient_item_of_a_snapshot_is_sent_at_attaching_only() -> None:
    items = ItemSequence()
    running = snapshot(transient=b"50%")
    items.attach(running)
    items.on_snapshot(running)
    assert [items.next_action() for _ in range(2)] == [Send(b"50%"), Wait()]


def test_the_transient_item_of_a_finished_call_is_not_sent() -> None:
    items = ItemSequence()
    end = ending()
    items.attach(snapshot(transient=b"50%", ending=end))
    assert items.next_action() == Done(end)


def test_published_initial_metadata_is_newer_than_that_of_a_snapshot() -> None:
    items = ItemSequence()
    items.on_snapshot(snapshot(initial=b"read"))
    assert items.initial_metadata == b"read"
    items.on_event(Initial(b"heard"))
    items.on_snapshot(snapshot(initial=b"read"))
    assert items.initial_metadata == b"heard"


def test_a_sequence_is_idle_until_there_is_something_to_send() -> None:
    assert ItemSequence().is_idle
    for event in (Item(0, b"a"), ItemsStored(1, 1), TransientItem(b"b"), ending()):
        items = ItemSequence()
        items.on_event(event)
        assert not items.is_idle


def test_a_snapshot_older_than_the_items_sent_loses_nothing() -> None:
    items = ItemSequence()
    for ordinal in range(3):
        items.on_event(Item(ordinal, b"x"))
    taken = [items.next_action() for _ in range(3)]
    items.on_snapshot(snapshot(count=1, sent=1))
    assert taken == [Send(b"x")] * 3
    assert items.next_action() == Wait()


def test_without_room_one_item_is_buffered_and_the_rest_is_fetched() -> None:
    budget = NoRoom()
    items = ItemSequence(budget=budget)
    for ordinal in range(3):
        items.on_event(Item(ordinal, b"item"))
    assert budget.size == 4
    assert items.next_action() == Send(b"item")
    assert budget.size == 4  # it is being sent
    assert items.next_action() == Fetch(1, 1)
    assert budget.size == 0
