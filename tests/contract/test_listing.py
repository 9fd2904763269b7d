"""The operations of the admin services: listing, describing, observing and deleting calls."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import cast

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import Ending, Item, parse_frame
from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_prefix
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import Flow, emit, emit_transient, finish
from forebay_backends.ledger.operations.base import Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import accept, cancel, discard, leave
from forebay_backends.ledger.operations.inspection import (
    Cursor,
    Description,
    Listed,
    ObservedCall,
    backlog,
    delete,
    describe,
    list_calls,
    observe,
)
from tests.contract.channel import Channel
from tests.contract.records import (
    NOBODY,
    QUEUE,
    WORKER,
    Record,
    accepted,
    new_call,
    new_key,
    running,
    sweep_all,
)

PARTITION = 3


def keys_of_partition(count: int) -> Iterator[CallKey]:
    """New keys of calls in one partition."""
    while count:
        call = new_key()
        if call.partition == partition_prefix(PARTITION):
            count -= 1
            yield call


def accept_at(ledger: BlockingLedger, created_ms: int, count: int = 1) -> list[Cursor]:
    """Accepts calls in the partition, and sets their creation time."""
    cursors = []
    for call in keys_of_partition(count):
        ledger.run(accept(call, new_call(), NOBODY, Push()))
        ledger.redis.zadd(f"{partition_prefix(PARTITION)}:calls", {str(call): created_ms})
        cursors.append(Cursor(created_ms, str(call)))
    return cursors


def walk(
    ledger: BlockingLedger, limit: int, oldest_ms: int | None = None
) -> Iterator[list[Listed]]:
    """The partition's calls, page by page."""
    after: Cursor | None = None
    while True:
        page = ledger.run(list_calls(PARTITION, after, oldest_ms, limit))
        yield list(page.calls)
        if page.read_to is None:
            return
        after = page.read_to


def listed(ledger: BlockingLedger) -> list[CallKey]:
    """All calls of all partitions."""
    return [
        one.call
        for number in range(PARTITIONS)
        for one in ledger.run(list_calls(number, None, None, 100)).calls
    ]


def described(record: Record, most_bytes: int = 1000) -> Description:
    """The description of a call that exists."""
    description = record.ledger.run(describe(record.call, most_bytes, review=True))
    assert isinstance(description, Description)
    return description


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_partition_is_listed_newest_first_in_pages_of_any_size(
    ledger: BlockingLedger, limit: int
) -> None:
    cursors = [cursor for time in (1000, 3000, 2000) for cursor in accept_at(ledger, time, 4)]
    random.shuffle(cursors)
    stretches = list(walk(ledger, limit))
    assert [one.cursor for calls in stretches for one in calls] == sorted(cursors, reverse=True)
    assert all(len(calls) <= limit for calls in stretches)


def test_a_call_accepted_between_two_pages_does_not_shift_the_listing(
    ledger: BlockingLedger,
) -> None:
    cursors = accept_at(ledger, 1000, 3)
    stretches = walk(ledger, 2)
    first = next(stretches)
    accept_at(ledger, 2000)
    assert [one.cursor for calls in (first, *stretches) for one in calls] == sorted(
        cursors, reverse=True
    )


def test_a_listing_ends_at_the_oldest_requested_time(ledger: BlockingLedger) -> None:
    accept_at(ledger, 1000, 2)
    newer = accept_at(ledger, 2000, 2) + accept_at(ledger, 3000)
    found = [one.cursor for calls in walk(ledger, 2, oldest_ms=2000) for one in calls]
    assert found == sorted(newer, reverse=True)
    beyond = ledger.run(list_calls(PARTITION, Cursor(1000, "/zzz"), 2000, 10))
    assert (beyond.calls, beyond.read_to) == ((), None)


def test_a_call_without_a_record_is_skipped_and_removed_from_the_index(
    ledger: BlockingLedger,
) -> None:
    kept, gone = accept_at(ledger, 1000, 2)
    ledger.redis.delete(f"{partition_prefix(PARTITION)}:call:{gone.call}")
    assert [one.cursor for calls in walk(ledger, 1) for one in calls] == [kept]
    index = f"{partition_prefix(PARTITION)}:calls"
    assert ledger.redis.zrange(index, 0, -1) == [kept.call.encode()]


def test_a_listing_has_all_fields_that_filters_use(ledger: BlockingLedger) -> None:
    record = running(ledger)
    [one] = [
        one
        for number in range(PARTITIONS)
        for one in ledger.run(list_calls(number, None, None, 10)).calls
    ]
    assert (one.call, one.state, one.method, one.queue) == (
        record.call,
        State.RUNNING,
        "pkg.Service.Method",
        "queue",
    )
    assert one.cursor.created_ms == int(record.fields["created_at"])
    assert (one.begun_ms, one.finished_ms) == (int(record.fields["begun_at"]), 0)


def test_a_dropped_call_is_no_longer_listed(ledger: BlockingLedger) -> None:
    discarded, finished, kept = (
        accepted(ledger),
        accepted(ledger, retention_s=0.0),
        accepted(ledger),
    )
    assert ledger.run(discard(discarded.call)) is None
    assert ledger.run(cancel(finished.call)) is None
    sweep_all(ledger)
    assert listed(ledger) == [kept.call]


def test_a_running_call_is_described_with_all_fields(ledger: BlockingLedger) -> None:
    record = running(ledger, timeout_s=60.0)
    ledger.run(emit(record.call, 1, 0, b"ordinary"))
    ledger.run(emit_transient(record.call, 1, b"progress"))
    shown, fields = described(record), record.fields
    assert (shown.state, shown.reason, shown.method) == (State.RUNNING, "", "pkg.Service.Method")
    assert (shown.queue, shown.worker, shown.attempt) == ("queue", WORKER, 1)
    times = (shown.created_ms, shown.queued_ms, shown.begun_ms, shown.deadline_ms)
    assert times == tuple(
        int(fields[name]) for name in ("created_at", "queued_at", "begun_at", "deadline")
    )
    assert shown.created_ms <= shown.read_ms < shown.deadline_ms
    assert (shown.finished_ms, shown.first, shown.count, shown.sent) == (0, 0, 1, len(b"ordinary"))
    assert (shown.last_item, shown.progress, shown.ending) == (None, b"progress", None)


def test_a_finished_call_is_described_with_its_last_item_and_without_progress(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger)
    for ordinal, item in enumerate([b"one", b"two"]):
        ledger.run(emit(record.call, 1, ordinal, item))
    ledger.run(emit_transient(record.call, 1, b"progress"))
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"outcome"))
    shown = described(record)
    assert (shown.state, shown.worker, shown.count) == (State.SUCCEEDED, "", 2)
    assert (shown.last_item, shown.progress) == (b"two", None)
    assert shown.finished_ms >= shown.begun_ms
    assert shown.ending == Ending(State.SUCCEEDED, "", 2, 1, 0, 0, b"outcome")


def test_a_described_item_may_be_empty_and_is_left_out_if_too_large(ledger: BlockingLedger) -> None:
    for item, shown in ((b"", b""), (b"1234", b"1234"), (b"12345", None)):
        record = running(ledger)
        ledger.run(emit_transient(record.call, 1, item))
        assert described(record, most_bytes=4).progress == shown
        ledger.run(emit(record.call, 1, 0, item))
        ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
        assert described(record, most_bytes=4).last_item == shown


def test_describe_ends_a_call_that_is_due_only_with_review(ledger: BlockingLedger) -> None:
    record = accepted(ledger, timeout_s=0.001)
    while not record.is_past_its_deadline():
        pass
    as_it_is = ledger.run(describe(record.call, 0))
    assert isinstance(as_it_is, Description)
    assert as_it_is.state is State.QUEUED
    shown = described(record)
    assert (shown.state, shown.reason) == (State.EXPIRED, "DEADLINE_EXCEEDED")


def test_an_observer_gets_items_and_the_ending(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger)
    seen = ledger.run(observe(record.call, channel.name))
    assert seen == ObservedCall(State.RUNNING, "pkg.Service.Method", first=0, count=0, sent=0)
    ledger.run(emit(record.call, 1, 0, b"item"))
    ledger.run(cancel(record.call))
    events = [parse_frame(frame) for frame in channel.received()]
    assert [key for key, _ in events] == [str(record.call)] * 2
    assert events[0][1] == Item(0, b"item")
    assert isinstance(events[1][1], Ending)
    assert events[1][1].state is State.CANCELLED


def test_an_observer_that_also_watches_gets_each_event_once(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    ledger.run(observe(record.call, channel.name))
    ledger.run(emit(record.call, 1, 0, b"item"))
    assert len(channel.received()) == 1


def test_an_observer_does_not_take_part_in_flow_control_or_keep_a_call_alive(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name, linger_s=0.0)
    ledger.run(observe(record.call, "somebody-else"))
    flow = ledger.run(emit(record.call, 1, 0, b"item"))
    assert isinstance(flow, Flow)
    assert flow.watchers == 1
    ledger.run(leave(record.call, channel.name))
    assert record.state is State.CANCELLED


def test_an_observer_expires_and_leaves_no_keys(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger)
    ledger.run(observe(record.call, channel.name))
    name = f"{record.call.partition}:observers:{record.call}"
    assert 0 < ledger.redis.pttl(name) <= 15_000
    ledger.run(cancel(record.call))
    ledger.run(delete(record.call))
    assert ledger.redis.keys(f"*{record.call}*") == []


def test_observing_a_finished_call_returns_its_state(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    ledger.run(cancel(record.call))
    seen = ledger.run(observe(record.call, NOBODY))
    assert isinstance(seen, ObservedCall)
    assert seen.state is State.CANCELLED
    assert not ledger.redis.exists(f"{record.call.partition}:observers:{record.call}")


def test_only_a_finished_call_is_deleted_and_its_id_is_free_again(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(emit(record.call, 1, 0, b"item"))
    assert ledger.run(delete(record.call)) == Refused(State.RUNNING)
    assert record.items == [b"item"]
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert ledger.run(delete(record.call)) is None
    assert ledger.run(delete(record.call)) == Refused(Refusal.UNKNOWN)
    assert listed(ledger) == []
    assert ledger.redis.keys(f"*{record.call.id}*") == []
    assert int(ledger.redis.get(f"{record.call.partition}:bytes") or 0) == 0
    assert ledger.run(accept(record.call, new_call(), NOBODY, Push())) is None


def test_a_backlog_has_the_waiting_calls_and_the_longest_wait_of_the_ten_oldest_messages(
    ledger: BlockingLedger,
) -> None:
    seconds, _ = cast("tuple[int, int]", ledger.redis.time())
    waited_s = [20, 50, *[10] * 8, 90]
    for message, (call, waited) in enumerate(
        zip(keys_of_partition(len(waited_s)), waited_s, strict=True)
    ):
        accepted(ledger, call=call)
        queued_at = (seconds - waited) * 1000
        ledger.redis.hset(f"{call.partition}:call:{call}", "queued_at", queued_at)
        ledger.redis.zadd(f"{call.partition}:waiting:{QUEUE}", {str(call): message + 1})
    found, empty = ledger.run(backlog(PARTITION, [QUEUE, "another"]))
    assert (found.calls, found.oldest_ms) == (11, pytest.approx(50_000, abs=9000))
    assert (empty.calls, empty.oldest_ms) == (0, 0)


def test_all_operations_on_an_unknown_call_are_refused(ledger: BlockingLedger) -> None:
    call = new_key()
    assert ledger.run(describe(call, 0, review=True)) == Refused(Refusal.UNKNOWN)
    assert ledger.run(observe(call, NOBODY)) == Refused(Refusal.UNKNOWN)
    assert ledger.run(delete(call)) == Refused(Refusal.UNKNOWN)
