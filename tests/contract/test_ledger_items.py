"""Items on their way from a handler to its watchers."""

from __future__ import annotations

from typing import cast

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import (
    Credit,
    Ending,
    Initial,
    Item,
    ItemsStored,
    TransientItem,
    parse_control,
    parse_frame,
)
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    ANNOUNCE_ABOVE_BYTES,
    Flow,
    emit,
    emit_transient,
    finish,
    read_flow,
    report_metadata,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Refusal, Refused
from forebay_backends.ledger.operations.calls import credit, leave, watch
from forebay_backends.ledger.operations.inspection import Description, describe
from forebay_backends.ledger.scripts import RECORD_BYTES
from tests.contract.channel import Channel
from tests.contract.records import NOBODY, Record, running, sweep_all
from tests.harness import eventually


def emitted(record: Record, *items: bytes) -> None:
    """Emits items as a handler does."""
    first = record.snapshot().count
    for ordinal, item in enumerate(items, first):
        assert isinstance(record.ledger.run(emit(record.call, 1, ordinal, item)), Flow)


def events(channel: Channel) -> list[object]:
    return [parse_frame(frame)[1] for frame in channel.received()]


def test_an_item_is_stored_and_published(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger, channel.name)
    for ordinal, item in enumerate((b"a", b"", b"\n\x00c")):
        assert ledger.run(emit(record.call, 1, ordinal, item)) == Flow(0, 1)
    assert record.items == [b"a", b"", b"\n\x00c"]
    assert events(channel) == [Item(0, b"a"), Item(1, b""), Item(2, b"\n\x00c")]
    assert (record.snapshot().count, record.snapshot().sent) == (3, 4)


def test_an_item_is_stored_and_published_once(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger, channel.name)
    for ordinal, item in ((0, b"a"), (1, b"b"), (0, b"a"), (1, b"other")):
        assert isinstance(ledger.run(emit(record.call, 1, ordinal, item)), Flow)
    assert record.items == [b"a", b"b"]
    assert events(channel) == [Item(0, b"a"), Item(1, b"b")]
    assert (record.snapshot().count, record.snapshot().sent) == (2, 2)


def test_an_item_after_a_gap_is_refused(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger, channel.name)
    emitted(record, b"a")
    channel.received()
    assert ledger.run(emit(record.call, 1, 2, b"c")) == Refused(Refusal.GAP)
    assert (record.items, channel.received()) == ([b"a"], [])


def test_a_large_item_is_announced_and_a_small_one_is_published(
    ledger: BlockingLedger, channel: Channel
) -> None:
    small, large = b"x" * ANNOUNCE_ABOVE_BYTES, b"x" * (ANNOUNCE_ABOVE_BYTES + 1)
    record = running(ledger, channel.name)
    emitted(record, small, large)
    assert events(channel) == [Item(0, small), ItemsStored(2, len(small) + len(large))]
    assert record.items == [small, large]


def test_every_watcher_gets_the_event(ledger: BlockingLedger, channel: Channel) -> None:
    record = running(ledger, channel.name)
    with Channel(ledger, "another") as another:
        ledger.run(watch(record.call, another.name))
        assert ledger.run(emit(record.call, 1, 0, b"a")) == Flow(0, 2)
        assert events(channel) == events(another) == [Item(0, b"a")]


def test_a_transient_item_is_published_and_the_latest_is_kept(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    for item in (b"10 %", b"20 %"):
        assert ledger.run(emit_transient(record.call, 1, item)) is None
    snapshot = record.snapshot(channel.name)
    assert events(channel) == [TransientItem(b"10 %"), TransientItem(b"20 %")]
    assert (snapshot.transient, snapshot.count, snapshot.sent) == (b"20 %", 0, 0)
    assert record.items == []


def test_a_transient_item_takes_no_ordinal(ledger: BlockingLedger) -> None:
    record = running(ledger)
    emitted(record, b"a")
    ledger.run(emit_transient(record.call, 1, b"50 %"))
    emitted(record, b"b")
    assert record.items == [b"a", b"b"]


def test_the_latest_transient_item_is_deleted_when_the_call_ends(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(emit_transient(record.call, 1, b"99 %"))
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert record.snapshot().transient == b""


def test_the_latest_metadata_of_an_operation_is_published_and_kept_after_the_end(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    for metadata in (b"page 1", b"page 10"):
        assert ledger.run(report_metadata(record.call, 1, metadata)) is None
    assert events(channel) == [TransientItem(b"page 1"), TransientItem(b"page 10")]
    assert described(record).operation_metadata == b"page 10"
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"", b"response"))
    ended = described(record)
    assert (ended.operation_metadata, ended.last_item, ended.progress) == (
        b"page 10",
        b"response",
        None,
    )
    assert described(record, most_bytes=7).operation_metadata == b"page 10"
    assert described(record, most_bytes=6).operation_metadata is None, (
        "it is left out, which is no news"
    )
    held = sum(swept.held_bytes for swept in sweep_all(ledger))
    assert held == RECORD_BYTES + len(b"page 10") + len(b"response")


def test_an_operation_has_no_metadata_at_first_and_none_from_a_stale_attempt(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger)
    assert described(record).operation_metadata == b""
    assert ledger.run(report_metadata(record.call, 2, b"late")) == Refused(Refusal.STALE)
    assert described(record).operation_metadata == b""


def described(record: Record, most_bytes: int = 1000) -> Description:
    description = record.ledger.run(describe(record.call, most_bytes))
    assert isinstance(description, Description)
    return description


def test_initial_metadata_is_published_and_kept_after_the_end(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    assert ledger.run(send_initial_metadata(record.call, 1, b"metadata")) is None
    assert events(channel) == [Initial(b"metadata")]
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert record.snapshot().initial == b"metadata"


def test_credit_goes_to_the_handler_and_only_forward(
    ledger: BlockingLedger, control: Channel
) -> None:
    record = running(ledger, control=control.name)
    emitted(record, *[b"item"] * 5)
    for count in (2, 5, 3):
        assert ledger.run(credit(record.call, count)) is None
    received = [parse_control(frame) for frame in control.received()]
    assert received == [(str(record.call), 1, Credit(2)), (str(record.call), 1, Credit(5))]
    assert ledger.run(read_flow(record.call, 1)) == Flow(5, 0)


def test_credit_for_a_finished_call_is_refused(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert ledger.run(credit(record.call, 1)) == Refused(State.SUCCEEDED)


def test_read_items_can_be_trimmed(ledger: BlockingLedger) -> None:
    record = running(ledger)
    emitted(record, b"a", b"bb", b"ccc", b"d")
    assert ledger.run(trim(record.call, 1, 2, 3)) is None
    assert record.items == [b"ccc", b"d"]
    assert (record.snapshot().first, record.snapshot().count) == (2, 4)
    assert ledger.run(trim(record.call, 1, 1, 1)) is None
    assert record.items == [b"ccc", b"d"]
    emitted(record, b"e")
    assert record.items == [b"ccc", b"d", b"e"]


def test_a_repeated_item_that_was_trimmed_is_not_stored_again(ledger: BlockingLedger) -> None:
    record = running(ledger)
    emitted(record, b"a", b"b")
    ledger.run(trim(record.call, 1, 2, 2))
    assert isinstance(ledger.run(emit(record.call, 1, 0, b"a")), Flow)
    assert record.items == []


def test_a_finished_call_holds_the_bytes_that_were_not_trimmed(ledger: BlockingLedger) -> None:
    record = running(ledger)
    emitted(record, b"x" * 10, b"x" * 20)
    ledger.run(trim(record.call, 1, 1, 10))
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert sum(swept.held_bytes for swept in sweep_all(ledger)) == RECORD_BYTES + 20


def test_a_unary_methods_response_is_stored_with_the_end(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"outcome", b"response")) is None
    assert record.items == [b"response"]
    (ending,) = events(channel)
    assert isinstance(ending, Ending)
    assert (ending.state, ending.count, ending.outcome) == (State.SUCCEEDED, 1, b"outcome")
    assert ending.response == b"response"


async def test_a_large_response_is_read_from_the_record(
    ledger: BlockingLedger, aio_ledger: Ledger, channel: Channel
) -> None:
    record, response = running(ledger, channel.name), bytes(ANNOUNCE_ABOVE_BYTES + 1)
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"outcome", response)) is None
    (ending,) = events(channel)
    assert isinstance(ending, Ending)
    assert (ending.count, ending.outcome, ending.response) == (1, b"outcome", None)
    assert await aio_ledger.items(record.call, 0, 1) == [(0, response)]
    assert await aio_ledger.items(record.call, 1, 1) == []


def test_a_channel_without_subscribers_stops_being_a_watcher(ledger: BlockingLedger) -> None:
    record = running(ledger, NOBODY)
    assert record.watchers == [NOBODY]
    assert ledger.run(emit(record.call, 1, 0, b"a")) == Flow(0, 0)
    assert record.watchers == []
    assert "abandoned_at" in record.fields


def test_a_transient_item_without_a_subscriber_shows_that_the_watcher_is_lost(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, NOBODY)
    assert ledger.run(emit_transient(record.call, 1, b"10 %")) is None
    ledger.run(emit(record.call, 1, 0, b"a"))
    assert record.watchers == []
    assert "abandoned_at" in record.fields, "nothing will ever cancel the call that nobody watches"


async def test_items_are_read_by_ordinal_in_pages(
    aio_ledger: Ledger, ledger: BlockingLedger
) -> None:
    record = running(ledger)
    emitted(record, b"a", b"b", b"c")
    assert await aio_ledger.items(record.call, 0, 2) == [(0, b"a"), (1, b"b")]
    assert await aio_ledger.items(record.call, 2, 2) == [(2, b"c")]
    assert await aio_ledger.items(record.call, 3, 2) == []
    ledger.run(trim(record.call, 1, 1, 1))
    assert await aio_ledger.items(record.call, 0, 2) == [(1, b"b"), (2, b"c")]


def test_watching_reports_how_long_the_handler_waits(ledger: BlockingLedger) -> None:
    record = running(ledger)
    emitted(record, b"a", b"b")
    assert record.snapshot().credit_wait_s == 0
    waits_since = ledger_ms(record)
    assert isinstance(ledger.run(read_flow(record.call, 1)), Flow)
    eventually(lambda: record.snapshot().credit_wait_s > 0, "the wait is reported")
    assert isinstance(ledger.run(read_flow(record.call, 1)), Flow)  # the wait goes on
    assert record.snapshot().credit_wait_s <= (ledger_ms(record) - waits_since + 1) / 1000
    ledger.run(credit(record.call, 1))
    assert record.snapshot().credit_wait_s == 0


def test_a_handler_that_emits_again_does_not_wait(ledger: BlockingLedger) -> None:
    record = running(ledger)
    assert isinstance(ledger.run(read_flow(record.call, 1)), Flow)
    assert "credit_wait_since" in record.fields
    emitted(record, b"a")
    assert "credit_wait_since" not in record.fields


def test_a_handler_without_watchers_waits_for_none(ledger: BlockingLedger) -> None:
    record = running(ledger, detach=True)
    ledger.run(leave(record.call, NOBODY))
    assert ledger.run(read_flow(record.call, 1)) == Flow(0, 0)
    assert "credit_wait_since" not in record.fields


def ledger_ms(record: Record) -> float:
    seconds, microseconds = cast(tuple[int, int], record.ledger.redis.time())
    return seconds * 1000 + microseconds / 1000
