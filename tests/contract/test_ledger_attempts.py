"""Claiming, beginning and ending the attempts of a call."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending, Stop, parse_control, parse_frame
from forebay_backends.ledger.keys import CallKey, control_channel
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import cancel, end
from forebay_backends.ledger.operations.requests import complete
from tests.contract.channel import Channel
from tests.contract.records import (
    OTHER_WORKER,
    WORKER,
    Record,
    accepted,
    new_call,
    new_key,
    running,
    with_lease,
)
from tests.harness import eventually

pytestmark = pytest.mark.usefixtures("message_paths")

TERMINAL = [state for state in State if state.terminal]


def led_to(ledger: BlockingLedger, state: State, **changes: object) -> Record:
    """A call in the given state."""
    if state is State.RECEIVING:
        return accepted(ledger, receiving=True, **changes)
    if state is State.QUEUED:
        return accepted(ledger, **changes)
    record = running(ledger, **changes)
    event = {
        State.SUCCEEDED: Event.SUCCEED,
        State.FAILED: Event.FAIL,
        State.CANCELLED: Event.CANCEL,
        State.EXPIRED: Event.EXPIRE,
    }.get(state)
    if event is not None:
        assert ledger.run(end(record.call, event, str(event), b"first")) is None
    return record


def test_a_claim_blocks_other_workers(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    assert ledger.run(claim(record.call, 1, WORKER)) is None
    assert ledger.run(claim(record.call, 1, OTHER_WORKER)) == Refused(Refusal.TAKEN)
    assert ledger.run(begin(record.call, 1, OTHER_WORKER, "control")) == Refused(Refusal.TAKEN)
    assert ledger.run(claim(record.call, 1, WORKER)) is None
    assert isinstance(ledger.run(begin(record.call, 1, WORKER, "control")), Begun)


def test_an_expired_claim_does_not_block_other_workers(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    assert ledger.run(with_lease(claim(record.call, 1, WORKER), 0.05)) is None
    eventually(lambda: ledger.run(claim(record.call, 1, OTHER_WORKER)) is None, "it lapses")
    assert ledger.run(begin(record.call, 1, WORKER, "control")) == Refused(Refusal.TAKEN)


@pytest.mark.parametrize("attempt", [0, 2])
def test_another_attempt_than_the_present_one_is_stale(
    ledger: BlockingLedger, attempt: int
) -> None:
    queued, begun = accepted(ledger).call, running(ledger)
    operations: list[Operation[object]] = [
        claim(queued, attempt, WORKER),
        begin(queued, attempt, WORKER, "control"),
        emit(begun.call, attempt, 0, b"item"),
        emit_transient(begun.call, attempt, b"item"),
        read_flow(begun.call, attempt),
        trim(begun.call, attempt, 1, 4),
        finish(begun.call, attempt, Event.SUCCEED, "", b""),
    ]
    assert [ledger.run(operation) for operation in operations] == [Refused(Refusal.STALE)] * 7
    assert (begun.state, begun.items) == (State.RUNNING, [])


@pytest.mark.parametrize(
    "start",
    [
        lambda call: claim(call, 1, WORKER),
        lambda call: begin(call, 1, WORKER, "control"),
        lambda call: claim(call, 2, WORKER),
    ],
    ids=["claim", "begin", "a stale claim"],
)
def test_a_queued_call_past_its_deadline_never_starts(
    ledger: BlockingLedger, start: Callable[[CallKey], Operation[object]]
) -> None:
    record = accepted(ledger, timeout_s=0.05)
    eventually(record.is_past_its_deadline, "the deadline passes")
    assert ledger.run(start(record.call)) == Refused(State.EXPIRED)
    assert record.ending().reason == "DEADLINE_EXCEEDED"


def test_a_call_is_begun_once(ledger: BlockingLedger) -> None:
    record = running(ledger)
    assert ledger.run(begin(record.call, 1, OTHER_WORKER, "elsewhere")) == Refused(State.RUNNING)
    assert ledger.run(claim(record.call, 1, OTHER_WORKER)) == Refused(State.RUNNING)


def test_a_handler_starts_with_all_that_it_needs(ledger: BlockingLedger) -> None:
    record = accepted(ledger, timeout_s=30.0)
    begun = ledger.run(begin(record.call, 1, WORKER, "control"))
    assert isinstance(begun, Begun)
    assert begun.timeout_s is not None
    assert 25.0 < begun.timeout_s <= 30.0
    expected = new_call()
    assert begun == Begun(
        method=expected.method,
        request=expected.request,
        inputs=None,
        metadata=expected.metadata,
        timeout_s=begun.timeout_s,
        item_limit_bytes=expected.item_limit_bytes,
        window_bytes=expected.window_bytes,
        live=False,
        fingerprint="uu-1",
        caller=b"jane",
    )


@pytest.mark.parametrize(
    ("timeout_s", "run_limit_s", "expected_s"),
    [(None, None, None), (30.0, None, 30.0), (None, 20.0, 20.0), (30.0, 20.0, 20.0), (9, 20, 9)],
)
def test_a_run_ends_at_the_sooner_of_deadline_and_run_time(
    ledger: BlockingLedger,
    timeout_s: float | None,
    run_limit_s: float | None,
    expected_s: float | None,
) -> None:
    record = accepted(ledger, timeout_s=timeout_s, run_limit_s=run_limit_s)
    begun = ledger.run(begin(record.call, 1, WORKER, "control"))
    assert isinstance(begun, Begun)
    assert begun.timeout_s == pytest.approx(expected_s, abs=5.0)


def test_the_end_is_stored_and_published_to_watchers(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    ledger.run(emit(record.call, 1, 0, b"item"))
    assert ledger.run(finish(record.call, 1, Event.FAIL, "WHY", b"outcome")) is None
    key, ended = parse_frame(channel.received()[-1])
    assert isinstance(ended, Ending)
    assert (key, ended.state, ended.reason) == (str(record.call), State.FAILED, "WHY")
    assert (ended.count, ended.attempts, ended.outcome) == (1, 1, b"outcome")
    assert record.ending() == ended


def test_an_end_without_a_reason_or_an_outcome_is_published_too(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = running(ledger, channel.name)
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    _, ended = parse_frame(channel.received()[-1])
    assert ended == record.ending()
    assert (record.ending().reason, record.ending().outcome) == ("", b"")


@pytest.mark.parametrize("operation", ["emit", "finish", "flow"])
def test_a_handler_that_is_late_finds_its_call_expired(
    ledger: BlockingLedger, control: Channel, operation: str
) -> None:
    record = running(ledger, control=control.name, run_limit_s=0.05)
    eventually(record.is_past_its_deadline, "the deadline passes")
    late: dict[str, Operation[object]] = {
        "emit": emit(record.call, 1, 0, b"item"),
        "finish": finish(record.call, 1, Event.SUCCEED, "", b"outcome"),
        "flow": read_flow(record.call, 1),
    }
    assert ledger.run(late[operation]) == Refused(State.EXPIRED)
    assert (record.state, record.items) == (State.EXPIRED, [])
    assert parse_control(control.received()[-1]) == (str(record.call), 1, Stop(State.EXPIRED))


def test_a_worker_whose_clock_is_ahead_may_find_that_the_deadline_has_passed(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, run_limit_s=60.0)
    assert ledger.run(finish(record.call, 1, Event.EXPIRE, "DEADLINE_EXCEEDED", b"")) is None
    assert (record.state, record.ending().reason) == (State.EXPIRED, "DEADLINE_EXCEEDED")


@pytest.mark.parametrize("state", [State.RECEIVING, State.QUEUED, State.RUNNING])
def test_an_active_call_can_be_cancelled(ledger: BlockingLedger, state: State) -> None:
    record = led_to(ledger, state)
    assert ledger.run(cancel(record.call)) is None
    assert record.state is State.CANCELLED
    assert record.ending().reason == "CANCELLED"


def test_a_running_handler_is_notified_of_a_cancellation(
    ledger: BlockingLedger, control: Channel
) -> None:
    record = running(ledger, control=control.name)
    ledger.run(cancel(record.call))
    assert [parse_control(frame) for frame in control.received()] == [
        (str(record.call), 1, Stop(State.CANCELLED))
    ]


@pytest.mark.parametrize("event", [Event.SUCCEED, Event.FAIL, Event.CANCEL])
def test_a_handler_that_has_ended_gets_no_stop(
    ledger: BlockingLedger, control: Channel, event: Event
) -> None:
    with Channel(ledger, "control", name=control_channel(WORKER)) as main:
        record = running(ledger, control=control.name)
        assert ledger.run(finish(record.call, 1, event, "", b"")) is None
        assert (control.received(), main.received()) == ([], [])


@pytest.mark.parametrize("state", TERMINAL)
def test_a_terminal_state_is_never_left(
    ledger: BlockingLedger, channel: Channel, state: State
) -> None:
    record = led_to(ledger, state, channel=channel.name)
    channel.received()
    before = record.fields
    operations: list[Operation[object]] = [
        cancel(record.call),
        *(end(record.call, event, "OTHER", b"other") for event in Event),
        *(finish(record.call, 1, event, "OTHER", b"other") for event in Event),
        claim(record.call, 1, WORKER),
        begin(record.call, 1, WORKER, "control"),
        emit(record.call, 1, 0, b"item"),
        emit_transient(record.call, 1, b"item"),
        trim(record.call, 1, 1, 4),
        complete(record.call, Push("queue", b"message")),
    ]
    replies = [ledger.run(operation) for operation in operations]
    assert replies == [Refused(state)] * len(operations)
    assert record.fields == before
    assert (record.items, channel.received(), ledger.redis.llen("queue")) == ([], [], 0)


def test_a_call_that_was_not_begun_cannot_succeed(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"")) == Refused(State.QUEUED)
    assert ledger.run(end(record.call, Event.SUCCEED, "", b"")) == Refused(State.QUEUED)
    assert record.state is State.QUEUED


async def test_an_attempt_from_accept_to_finish_runs_over_asyncio(
    aio_ledger: Ledger, ledger: BlockingLedger
) -> None:
    record = accepted(ledger)
    assert await aio_ledger.run(claim(record.call, 1, WORKER)) is None
    assert isinstance(await aio_ledger.run(begin(record.call, 1, WORKER, "control")), Begun)
    assert await aio_ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"done")) is None
    assert await aio_ledger.run(cancel(record.call)) == Refused(State.SUCCEEDED)
    assert await aio_ledger.run(cancel(new_key())) == Refused(Refusal.UNKNOWN)
    assert record.ending().outcome == b"done"
