"""An operation whose reply was lost runs again, and must take effect once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    Flow,
    begin,
    claim,
    emit,
    finish,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Push, Refused
from forebay_backends.ledger.operations.calls import ExistingCall, accept, credit
from forebay_backends.ledger.operations.requests import complete, receive
from tests.contract.lossy import LossyLink, lossy_link
from tests.contract.records import NOBODY, WORKER, Record, accepted, new_call, new_key, running

PUSH = Push("queue", b"message")


@pytest.fixture
def link(ledger: BlockingLedger, ledger_url: str) -> Iterator[LossyLink]:
    with lossy_link(ledger_url) as link:
        yield link


@pytest.fixture
def behind(link: LossyLink) -> Iterator[BlockingLedger]:
    """The ledger behind the link."""
    ledger = BlockingLedger(link.url)
    yield ledger
    ledger.close()


def run_losing_the_answer(link: LossyLink, ledger: BlockingLedger, operation: Operation) -> object:
    """The reply to the second run."""
    warm = Operation(operation.script, operation.partition, operation.arguments, lambda _: None)
    unknown = (str(new_key()), *operation.arguments[1:])
    if operation.script != "calls/accept":  # so that the server knows the script
        ledger.run(Operation(warm.script, warm.partition, unknown, warm.parse))
    else:
        ledger.run(accept(new_key(), new_call(), NOBODY, Push()))
    link.lose_answer_to(operation.script)
    reply = ledger.run(operation)
    assert link.lost.is_set()
    return reply


def test_a_call_is_accepted_once(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    reply = run_losing_the_answer(link, behind, accept(new_key(), new_call(), NOBODY, PUSH))
    assert reply == ExistingCall("pkg.Service.Method", "d1")
    assert ledger.redis.llen("queue") == 1


def test_a_request_is_spooled_once(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = accepted(ledger, receiving=True)
    assert run_losing_the_answer(link, behind, receive(record.call, 0, b"a", 100)) is None
    assert record.inputs == [b"a"]


def test_requests_end_once_and_the_gateway_is_notified(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = accepted(ledger, receiving=True)
    reply = run_losing_the_answer(link, behind, complete(record.call, PUSH))
    assert (record.state, ledger.redis.llen("queue")) == (State.QUEUED, 1)
    assert reply is None, "a gateway that hears otherwise sends no message by another broker"


def test_a_worker_keeps_its_claim(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = accepted(ledger)
    assert run_losing_the_answer(link, behind, claim(record.call, 1, WORKER)) is None


def test_begin_returns_the_same_reply_after_a_lost_one(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = accepted(ledger)
    reply = run_losing_the_answer(link, behind, begin(record.call, 1, WORKER, "control"))
    assert record.state is State.RUNNING
    assert isinstance(reply, Begun), "the call is begun, and nobody runs it"


def test_an_item_is_stored_once(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = running(ledger)
    reply = run_losing_the_answer(link, behind, emit(record.call, 1, 0, b"item"))
    assert isinstance(reply, Flow)
    assert (record.items, record.snapshot().sent) == ([b"item"], 4)


def test_items_are_trimmed_once(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = running(ledger)
    for ordinal in range(3):
        ledger.run(emit(record.call, 1, ordinal, b"item"))
    assert run_losing_the_answer(link, behind, trim(record.call, 1, 2, 8)) is None
    assert (record.items, record.snapshot().first) == ([b"item"], 2)


def test_credit_counts_once(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger
) -> None:
    record = running(ledger)
    ledger.run(emit(record.call, 1, 0, b"item"))
    assert run_losing_the_answer(link, behind, credit(record.call, 1)) is None
    assert record.fields["items_read"] == b"1"


def test_a_call_ends_once(link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger) -> None:
    record = running(ledger)
    run_losing_the_answer(link, behind, finish(record.call, 1, Event.SUCCEED, "", b"done"))
    assert (record.ending().state, record.ending().outcome) == (State.SUCCEEDED, b"done")


async def test_a_reply_lost_over_asyncio_is_retried(
    link: LossyLink, ledger: BlockingLedger
) -> None:
    behind = Ledger(link.url)
    await behind.run(accept(new_key(), new_call(), NOBODY, Push()))
    call = new_key()
    link.lose_answer_to("calls/accept")
    assert await behind.run(accept(call, new_call(), NOBODY, PUSH)) is not None
    assert link.lost.is_set()
    assert Record(ledger, call).state is State.QUEUED
    assert ledger.redis.llen("queue") == 1
    await behind.close()


RUNS: dict[str, Callable[[BlockingLedger, Operation[Any]], Any]] = {
    "run": lambda ledger, operation: ledger.run(operation),
    "run_all": lambda ledger, operation: ledger.run_all([operation])[0],
}


@pytest.mark.parametrize("run", RUNS)
def test_a_server_that_restarts_during_an_operation_lacks_the_script(
    link: LossyLink, behind: BlockingLedger, ledger: BlockingLedger, run: str
) -> None:
    record = running(ledger)
    RUNS[run](behind, finish(new_key(), 1, Event.SUCCEED, "", b""))
    link.lose_answer_to("attempts/finish", then=ledger.redis.script_flush)
    refused = RUNS[run](behind, finish(record.call, 1, Event.SUCCEED, "", b"done"))
    assert refused == Refused(State.SUCCEEDED)
    assert link.lost.is_set()
    assert record.ending().outcome == b"done"


async def test_the_asyncio_ledger_handles_that_too(link: LossyLink, ledger: BlockingLedger) -> None:
    behind = Ledger(link.url)
    for run in (behind.run, lambda operation: behind.run_all([operation])):
        record = running(ledger)
        await run(finish(new_key(), 1, Event.SUCCEED, "", b""))
        link.lose_answer_to("attempts/finish", then=ledger.redis.script_flush)
        await run(finish(record.call, 1, Event.SUCCEED, "", b"done"))
        assert link.lost.is_set()
        assert record.ending().outcome == b"done"
    await behind.close()


async def test_a_message_that_names_several_calls_is_pushed_where_their_records_are_written_late(
    aio_ledger: Ledger, ledger: BlockingLedger
) -> None:
    ledger.redis.script_flush()
    calls = [new_key(), new_key()]
    operations = [accept(call, new_call(), NOBODY, Push()) for call in calls]
    assert await aio_ledger.run_with_push(operations, PUSH) == [None, None]
    assert [Record(ledger, call).state for call in calls] == [State.QUEUED] * 2
    assert ledger.redis.llen(PUSH.queue_list) == 2, "the first may have come too early"
    assert await aio_ledger.run_with_push(operations[:1], PUSH) == [
        ExistingCall("pkg.Service.Method", "d1")
    ]
    assert ledger.redis.llen(PUSH.queue_list) == 3
