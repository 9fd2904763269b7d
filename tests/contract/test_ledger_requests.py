"""Accepting calls, and storing request streams."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import (
    ExistingCall,
    NewCall,
    accept,
    cancel,
    credit,
    watch,
)
from forebay_backends.ledger.operations.requests import complete, receive, take_requests
from tests.contract.channel import Channel
from tests.contract.records import NOBODY, WORKER, accepted, new_call, new_key, running, sweep_all
from tests.harness import eventually

pytestmark = pytest.mark.usefixtures("message_paths")

CALL = CallKey("never-seen")
PUSH = Push("queue", b"message")


def queue(ledger: BlockingLedger) -> object:
    return ledger.redis.lrange("queue", 0, -1)


def test_a_call_is_accepted_with_its_message(ledger: BlockingLedger) -> None:
    assert ledger.run(accept(CALL, new_call(), NOBODY, PUSH)) is None
    assert queue(ledger) == [b"message"]


def test_a_known_id_is_reported_and_changes_nothing(ledger: BlockingLedger) -> None:
    first, second = new_call(), new_call(method="pkg.Other.Method", digest="d2", request=b"other")
    assert ledger.run(accept(CALL, first, NOBODY, PUSH)) is None
    assert ledger.run(accept(CALL, second, NOBODY, PUSH)) == ExistingCall(
        "pkg.Service.Method", "d1"
    )
    assert queue(ledger) == [b"message"]
    begun = ledger.run(begin(CALL, 1, WORKER, "control"))
    assert isinstance(begun, Begun)
    assert begun.request == b"request"


def test_a_finished_call_is_known_until_its_retention_is_over(ledger: BlockingLedger) -> None:
    record = running(ledger)
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    again = ledger.run(accept(record.call, new_call(), NOBODY, Push()))
    assert again == ExistingCall("pkg.Service.Method", "d1")
    assert record.state is State.SUCCEEDED


def test_one_id_of_two_owners_is_two_calls(ledger: BlockingLedger) -> None:
    for owner in ("alice", "bob"):
        assert ledger.run(accept(CallKey("one", owner), new_call(), NOBODY, Push())) is None


async def test_a_call_is_accepted_once_over_asyncio_too(
    aio_ledger: Ledger, ledger: BlockingLedger
) -> None:
    assert await aio_ledger.run(accept(CALL, new_call(), NOBODY, PUSH)) is None
    assert await aio_ledger.run(accept(CALL, new_call(), NOBODY, PUSH)) is not None
    assert queue(ledger) == [b"message"]
    assert await aio_ledger.queue_depths(["queue", "another"]) == [1, 0]


async def test_operations_run_in_order_in_one_round_trip(aio_ledger: Ledger) -> None:
    for call in (new_key(), CALL):  # the first for a server that does not know the scripts yet
        operations: list[Operation[object]] = [
            accept(call, new_call(), NOBODY, Push()),
            begin(call, 1, WORKER, "control"),
            emit(call, 1, 0, b"item"),
            finish(call, 1, Event.SUCCEED, "", b"outcome"),
        ]
        replies = await aio_ledger.run_all(operations)
    assert not any(isinstance(reply, Refused) for reply in replies)
    assert await aio_ledger.items(CALL, 0, 10) == [(0, b"item")]


@pytest.mark.parametrize(
    "operation",
    [
        receive(CALL, 0, b"request", 100),
        complete(CALL, Push()),
        take_requests(CALL, 1, 0, 0),
        claim(CALL, 1, WORKER),
        begin(CALL, 1, WORKER, "control"),
        emit(CALL, 1, 0, b"item"),
        emit_transient(CALL, 1, b"item"),
        send_initial_metadata(CALL, 1, b"metadata"),
        read_flow(CALL, 1),
        trim(CALL, 1, 1, 4),
        finish(CALL, 1, Event.SUCCEED, "", b""),
        cancel(CALL),
        watch(CALL, NOBODY),
        credit(CALL, 1),
    ],
    ids=lambda operation: operation.script,
)
def test_an_unknown_call_is_refused_and_leaves_nothing(
    ledger: BlockingLedger, operation: Operation[object]
) -> None:
    assert ledger.run(operation) == Refused(Refusal.UNKNOWN)
    assert ledger.redis.keys("*") == []


def test_requests_are_spooled_in_order_and_each_once(ledger: BlockingLedger) -> None:
    record = accepted(ledger, receiving=True)
    for ordinal, request in ((0, b"a"), (1, b"b"), (1, b"b"), (0, b"a"), (2, b"c")):
        assert ledger.run(receive(record.call, ordinal, request, 100)) is None
    assert record.inputs == [b"a", b"b", b"c"]
    assert ledger.inputs(record.call, 0, 2) == [b"a", b"b"]
    assert ledger.inputs(record.call, 2, 2) == [b"c"]


def test_a_request_of_no_call_leaves_nothing_in_the_ledger(ledger: BlockingLedger) -> None:
    assert ledger.run(receive(CALL, 0, b"request", 100)) == Refused(Refusal.UNKNOWN)
    assert ledger.redis.keys() == []


def test_requests_of_one_round_trip_that_follow_a_refused_one_are_refused(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, receiving=True)
    sent = [b"x" * size for size in (5, 9, 2)]
    operations = [receive(record.call, at, request, 10) for at, request in enumerate(sent)]
    assert ledger.run_all(operations) == [None, Refused(Refusal.TOO_LARGE), Refused(Refusal.GAP)]
    assert record.inputs == sent[:1]
    assert ledger.run(receive(record.call, 1, b"x" * 5, 10)) is None
    assert record.inputs == [b"x" * 5] * 2


def test_requests_over_the_limit_are_refused_and_not_kept(ledger: BlockingLedger) -> None:
    record = accepted(ledger, receiving=True)
    assert ledger.run(receive(record.call, 0, b"x" * 60, 100)) is None
    assert ledger.run(receive(record.call, 1, b"x" * 41, 100)) == Refused(Refusal.TOO_LARGE)
    assert ledger.run(receive(record.call, 1, b"x" * 40, 100)) is None
    assert [len(request) for request in record.inputs] == [60, 40]


def test_a_call_is_queued_with_its_message_when_its_requests_have_ended(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, receiving=True)
    ledger.run(receive(record.call, 0, b"a", 100))
    assert record.state is State.RECEIVING
    assert ledger.run(claim(record.call, 1, WORKER)) == Refused(State.RECEIVING)
    assert ledger.run(complete(record.call, PUSH)) is None
    assert (record.state, queue(ledger)) == (State.QUEUED, [b"message"])
    assert ledger.run(receive(record.call, 1, b"b", 100)) == Refused(State.QUEUED)


def test_a_call_without_a_worker_ends_after_its_queue_wait_from_the_end_of_its_requests(
    ledger: BlockingLedger, channel: Channel
) -> None:
    record = accepted(ledger, channel.name, receiving=True, queue_wait_s=0.001)
    assert ledger.run(complete(record.call, Push())) is None
    eventually(lambda: record.is_past("queue_wait_until"), "its queue wait is over")
    sweep_all(ledger)
    assert (record.ending().state, record.ending().reason) == (State.FAILED, "NO_WORKERS")


def test_begin_returns_the_number_of_requests(ledger: BlockingLedger) -> None:
    def begun(new: NewCall, *requests: bytes) -> Begun:
        call = new_key()
        ledger.run(accept(call, new, NOBODY, Push()))
        for ordinal, request in enumerate(requests):
            ledger.run(receive(call, ordinal, request, 100))
        if new.receiving:
            ledger.run(complete(call, Push()))
        reply = ledger.run(begin(call, 1, WORKER, "control"))
        assert isinstance(reply, Begun)
        return reply

    assert begun(new_call()).inputs is None
    assert begun(new_call(receiving=True)).inputs == 0
    assert begun(new_call(receiving=True), b"a", b"b").inputs == 2


def test_the_requests_are_deleted_when_the_call_ends(ledger: BlockingLedger) -> None:
    record = accepted(ledger, receiving=True)
    ledger.run(receive(record.call, 0, b"a", 100))
    ledger.run(cancel(record.call))
    assert record.inputs == []


def test_a_call_that_ended_before_it_was_queued_has_waited_for_no_worker(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, receiving=True)
    ledger.run(cancel(record.call))
    assert (record.ending().queue_ms, record.ending().run_ms) == (0, 0)


def test_the_wait_for_a_worker_counts_from_the_end_of_the_requests(ledger: BlockingLedger) -> None:
    record = accepted(ledger, receiving=True, queue_wait_s=0.001)
    sweep_all(ledger)
    assert record.state is State.RECEIVING
