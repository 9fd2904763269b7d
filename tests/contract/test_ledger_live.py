"""Live calls: queued while their requests arrive; the handler reads them meanwhile."""

from __future__ import annotations

from typing import Any

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.frames import (
    RequestsCame,
    RequestWindowOpen,
    Stop,
    parse_control,
    parse_frame,
)
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import Begun, begin, emit, finish, release
from forebay_backends.ledger.operations.base import Lapse, Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import watch
from forebay_backends.ledger.operations.requests import Requests, complete, receive, take_requests
from tests.contract.channel import Channel
from tests.contract.records import NOBODY, QUEUE, WORKER, Record, accepted, running, sweep_all
from tests.harness import eventually

LIMIT = 1000


def live(ledger: BlockingLedger, *requests: bytes, **changes: Any) -> Record:
    """A running live call that has these requests."""
    record = running(ledger, live=True, **changes)
    put(ledger, record, *requests)
    return record


def put(ledger: BlockingLedger, record: Record, *requests: bytes) -> None:
    first = int(record.fields["request_count"])
    for ordinal, request in enumerate(requests, first):
        assert ledger.run(receive(record.call, ordinal, request, LIMIT)) is None


def take(
    ledger: BlockingLedger, record: Record, first: int, read_bytes: int, attempt: int = 1
) -> Requests | Refused:
    return ledger.run(take_requests(record.call, attempt, first, read_bytes))


def received(control: Channel) -> list[object]:
    return [event for _, _, event in map(parse_control, control.received())]


def test_a_live_call_is_queued_with_its_message_before_its_requests(ledger: BlockingLedger) -> None:
    record = accepted(ledger, live=True)
    assert record.state is State.QUEUED
    put(ledger, record, b"a")
    begun = ledger.run(begin(record.call, 1, WORKER, "control"))
    assert isinstance(begun, Begun)
    assert begun.live
    put(ledger, record, b"b")
    assert (record.state, record.inputs) == (State.RUNNING, [b"a", b"b"])


def test_its_requests_come_until_they_are_complete(ledger: BlockingLedger) -> None:
    record = live(ledger, b"a", b"b")
    for _ in range(2):  # sent twice
        assert ledger.run(complete(record.call, Push(), 2)) is None
    assert record.state is State.RUNNING
    assert ledger.run(receive(record.call, 2, b"c", LIMIT)) == Refused(State.RUNNING)
    assert take(ledger, record, 0, 0) == Requests(2, (b"a", b"b"))


def test_watching_reports_whether_requests_may_come(ledger: BlockingLedger) -> None:
    record = live(ledger, b"a")
    assert record.snapshot().receiving
    ledger.run(complete(record.call, Push(), 1))
    assert not record.snapshot().receiving
    assert accepted(ledger, receiving=True).snapshot().receiving
    assert not accepted(ledger).snapshot().receiving


def test_requests_that_the_ledger_lost_are_detected_at_the_end(ledger: BlockingLedger) -> None:
    record = live(ledger, b"a")
    assert ledger.run(complete(record.call, Push(), 2)) == Refused(Refusal.GAP)
    assert take(ledger, record, 2, 2) == Refused(Refusal.GAP)


def test_a_waiting_handler_is_notified_of_each_request_and_of_their_end(
    ledger: BlockingLedger, control: Channel
) -> None:
    record = live(ledger, control=control.name)
    assert take(ledger, record, 0, 0) == Requests(None, ())
    put(ledger, record, b"a")
    assert received(control) == [RequestsCame(1)]
    put(ledger, record, b"b")  # the handler has not read the first
    assert received(control) == []
    assert take(ledger, record, 0, 0) == Requests(None, (b"a", b"b"))
    assert take(ledger, record, 2, 2) == Requests(None, ())
    ledger.run(complete(record.call, Push(), 2))
    assert received(control) == [RequestsCame(2)]
    assert take(ledger, record, 2, 2) == Requests(2, ())


def test_a_handler_takes_no_more_than_a_page_and_at_least_one(ledger: BlockingLedger) -> None:
    record = running(ledger, live=True, window_bytes=10 << 20)
    sizes = [3 << 20, 600_000, 500_000, *[1] * 100]
    for ordinal, size in enumerate(sizes):
        ledger.run(receive(record.call, ordinal, bytes(size), 100 << 20))
    pages, first = [], 0
    while first < len(sizes):
        taken = take(ledger, record, first, sum(sizes[:first]))
        assert isinstance(taken, Requests)
        pages.append([len(request) for request in taken.requests])
        first += len(taken.requests)
    assert pages == [[3 << 20], [600_000], [500_000, *[1] * 63], [1] * 37]


def test_beyond_a_window_requests_wait_until_half_of_it_is_read(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = live(ledger, b"x" * 60, b"y" * 40, channel=channel.name, window_bytes=100)
    third = receive(record.call, 2, b"z", LIMIT)
    assert ledger.run(third) == Refused(Refusal.FULL)
    take(ledger, record, 0, 0)
    assert channel.received() == []
    take(ledger, record, 1, 60)
    (frame,) = channel.received()
    assert parse_frame(frame) == (str(record.call), RequestWindowOpen())
    assert ledger.run(third) is None
    take(ledger, record, 2, 100)
    assert channel.received() == []  # nobody waits


def test_a_request_larger_than_the_window_is_stored_alone(ledger: BlockingLedger) -> None:
    record = live(ledger, b"x" * 150, window_bytes=100)
    assert ledger.run(receive(record.call, 1, b"", LIMIT)) == Refused(Refusal.FULL)
    take(ledger, record, 1, 150)
    assert ledger.run(receive(record.call, 1, b"", LIMIT)) is None


@pytest.mark.parametrize(
    ("terms", "kept"),
    [
        ({"may_run_again": False}, []),
        ({"attempts_limit": 1}, []),
        ({"deterministic": False}, [b"a" * 60]),
        ({}, [b"a" * 60]),
    ],
)
def test_read_requests_are_kept_while_the_call_may_run_again(
    ledger: BlockingLedger, terms: dict[str, Any], kept: list[bytes]
) -> None:
    record = live(ledger, b"a" * 60, **terms)
    take(ledger, record, 1, 60)
    assert record.inputs == kept
    more = ledger.run(receive(record.call, 1, b"b" * 50, 100))
    assert more == (Refused(Refusal.TOO_LARGE) if kept else None)
    if terms == {"deterministic": False}:
        ledger.run(emit(record.call, 1, 0, b"item"))  # now it may not
        take(ledger, record, 1, 60)
        assert record.inputs == []


def test_a_second_attempt_reads_from_the_first_request_on(ledger: BlockingLedger) -> None:
    record = live(ledger, b"a", b"b")
    take(ledger, record, 2, 2)
    assert ledger.run(release(record.call, 1, WORKER)) == Lapse(QUEUE, runs_again=True)
    assert record.state is State.QUEUED
    put(ledger, record, b"c")
    ledger.run(begin(record.call, 2, WORKER, "control"))
    assert take(ledger, record, 0, 0, attempt=1) == Refused(Refusal.STALE)
    assert take(ledger, record, 0, 0, attempt=2) == Requests(None, (b"a", b"b", b"c"))


def test_a_caller_that_is_idle_for_too_long_ends_the_call(
    ledger: BlockingLedger, control: Channel
) -> None:
    record = live(ledger, b"a", control=control.name, idle_s=0.001)
    sweep_all(ledger)
    assert record.state is State.RUNNING  # the handler is busy with the first
    take(ledger, record, 1, 1)
    eventually(lambda: record.is_past("idle_until"), "the time has come")
    sweep_all(ledger)
    assert received(control) == [RequestsCame(1), Stop(State.EXPIRED)]
    assert (record.ending().state, record.ending().reason) == (State.EXPIRED, "CALLER_IDLE")
    assert record.inputs == []


@pytest.mark.parametrize("what", ["a request", "their end", "another worker"])
def test_a_handler_with_stored_requests_does_not_wait(ledger: BlockingLedger, what: str) -> None:
    record = live(ledger, idle_s=0.001)
    take(ledger, record, 0, 0)
    eventually(lambda: record.is_past("idle_until"), "the time has come")
    match what:
        case "a request":
            put(ledger, record, b"a")
        case "their end":
            ledger.run(complete(record.call, Push(), 0))
        case _:
            ledger.run(release(record.call, 1, WORKER))
    sweep_all(ledger)
    assert not record.state.terminal


def test_asking_for_requests_again_does_not_restart_the_wait(ledger: BlockingLedger) -> None:
    record = live(ledger, idle_s=50.0)
    take(ledger, record, 0, 0)
    until = record.fields["idle_until"]
    eventually(lambda: record.is_past("created_at"), "time passes")
    take(ledger, record, 0, 0)
    assert record.fields["idle_until"] == until


def test_the_requests_of_a_live_call_are_deleted_with_its_end(ledger: BlockingLedger) -> None:
    record = live(ledger, b"a")
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"")) is None
    assert record.inputs == []
    assert ledger.run(receive(record.call, 1, b"b", LIMIT)) == Refused(State.SUCCEEDED)
    assert take(ledger, record, 1, 1) == Refused(State.SUCCEEDED)
    snapshot = ledger.run(watch(record.call, NOBODY))
    assert not isinstance(snapshot, Refused)
    assert not snapshot.receiving
