"""Delayed calls: accepted now, queued once when they are due, and cancelled until then."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.lost_calls import certainly_lost
from forebay_backends.ledger.operations.attempts import begin, claim
from forebay_backends.ledger.operations.base import Push, Refused
from forebay_backends.ledger.operations.calls import Start, accept, cancel, discard, end, leave
from forebay_backends.ledger.operations.delayed import (
    DelayedCall,
    DelayedCount,
    count_delayed,
    due_calls,
    start,
)
from forebay_backends.ledger.operations.held import HeldCall
from forebay_backends.ledger.operations.inspection import Description, describe
from forebay_backends.ledger.operations.maintenance import QueueBacklog, mark_resent, unclaimed
from tests.contract.records import (
    NOBODY,
    QUEUE,
    WORKER,
    Record,
    accepted,
    new_call,
    new_key,
    sweep_all,
)

NOW = Start(0.0, is_relative=True)
LATER = Start(600.0, is_relative=True)
LIST = "queue-list"
PUSH = Push(LIST, b"message")


def due(ledger: BlockingLedger, within_s: float = 0.0) -> list[DelayedCall]:
    found = (ledger.run(due_calls(number, within_s)) for number in range(PARTITIONS))
    return [call for calls in found for call in calls]


def count(ledger: BlockingLedger, owner: str = "") -> DelayedCount:
    counts = (ledger.run(count_delayed(number, owner)) for number in range(PARTITIONS))
    return sum(counts, DelayedCount())


def backlog(ledger: BlockingLedger) -> QueueBacklog:
    found = (ledger.run(unclaimed(number, [QUEUE]))[QUEUE] for number in range(PARTITIONS))
    return sum(found, QueueBacklog(0, ()))


def milliseconds(record: Record, field: str) -> int:
    return int(record.fields[field])


def test_a_delayed_call_is_in_no_queue_and_can_not_begin(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=LATER, timeout_s=None)
    assert record.state is State.DELAYED
    assert milliseconds(record, "start_at") - milliseconds(record, "created_at") == 600_000
    assert "queued_at" not in record.fields
    assert backlog(ledger).count == 0
    assert due(ledger) == []
    assert ledger.run(start(record.call, PUSH)) == Refused(State.DELAYED), "it is too early"
    assert ledger.run(claim(record.call, 1, WORKER)) == Refused(State.DELAYED)
    assert ledger.run(begin(record.call, 1, WORKER, "control")) == Refused(State.DELAYED)
    sweep_all(ledger, [QUEUE])
    assert record.state is State.DELAYED
    assert ledger.redis.llen(LIST) == 0


def test_calls_are_found_before_they_are_due_with_all_that_their_message_needs(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, start=LATER, priority=3, detach=True)
    (found,) = due(ledger, within_s=700.0)
    assert found.held == HeldCall(
        record.call, QUEUE, 1, "pkg.tasks.method", 3, "pkg.Service.Method"
    )
    assert 500 < found.in_s <= 600


def test_all_calls_of_a_partition_that_are_due_are_found(ledger: BlockingLedger) -> None:
    first = accepted(ledger, start=NOW)
    calls = {first.call}
    while len(calls) < 4:
        call = new_key()
        if call.partition == first.call.partition:
            calls.add(accepted(ledger, call=call, start=NOW).call)
    found = due(ledger)
    assert {one.call for one in found} == calls
    assert [one.in_s for one in found] == [0.0] * 4


def test_a_call_may_start_at_a_date_of_the_ledgers_clock(ledger: BlockingLedger) -> None:
    seconds = ledger.redis.time()[0]
    record = accepted(ledger, start=Start(seconds + 100.0, is_relative=False))
    assert milliseconds(record, "start_at") == (seconds + 100) * 1000
    past = accepted(ledger, start=Start(seconds - 100.0, is_relative=False))
    assert [one.call for one in due(ledger)] == [past.call]


def test_a_due_call_is_queued_once_with_its_message(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=NOW)
    assert [(one.call, one.in_s) for one in due(ledger)] == [(record.call, 0.0)]
    assert ledger.run(start(record.call, PUSH)) is None
    assert ledger.run(start(record.call, PUSH)) == Refused(State.QUEUED)
    assert ledger.redis.lrange(LIST, 0, -1) == [b"message"]
    assert due(ledger) == []
    assert backlog(ledger).count == 1
    assert certainly_lost(backlog(ledger)) == []
    ledger.run(begin(record.call, 1, WORKER, "control"))
    assert record.state is State.RUNNING


def test_the_queue_wait_begins_when_the_call_is_due(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=LATER, queue_wait_s=60.0)
    assert "queue_wait_until" not in record.fields
    ledger.redis.hset(f"{record.call.partition}:call:{record.call}", "start_at", 1)
    ledger.run(start(record.call, PUSH))
    queued = milliseconds(record, "queued_at")
    assert queued >= milliseconds(record, "created_at")
    assert milliseconds(record, "queue_wait_until") == queued + 60_000


def test_a_message_that_is_yet_to_be_sent_counts_as_lost_until_it_was(
    ledger: BlockingLedger,
) -> None:
    """The gateway of a broker of its own may die before it has sent the message."""
    record = accepted(ledger, start=NOW)
    ledger.run(start(record.call, Push()))
    (lost,) = certainly_lost(backlog(ledger))
    assert lost.call == record.call
    ledger.run(mark_resent(lost))
    assert certainly_lost(backlog(ledger)) == []
    assert backlog(ledger).count == 1


def test_a_held_call_waits_in_its_gateway(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=NOW)
    assert ledger.run(start(record.call, Push(), held=True)) is None
    assert record.fields["held"] == b"1"
    assert certainly_lost(backlog(ledger)) == []
    assert backlog(ledger).count == 0


@pytest.mark.parametrize("event", [Event.FAIL, Event.CANCEL, Event.EXPIRE])
def test_a_delayed_call_that_ends_never_starts(ledger: BlockingLedger, event: Event) -> None:
    record = accepted(ledger, start=NOW)
    assert ledger.run(end(record.call, event, "WHY")) is None
    assert record.state.terminal
    assert due(ledger) == []
    assert ledger.run(start(record.call, PUSH)) == Refused(record.state)
    assert ledger.redis.llen(LIST) == 0


def test_a_call_whose_last_caller_left_goes_on_only_if_it_is_detached(
    ledger: BlockingLedger,
) -> None:
    left = accepted(ledger, start=LATER, linger_s=0.0)
    detached = accepted(ledger, start=LATER, linger_s=0.0, detach=True)
    for record in (left, detached):
        ledger.run(leave(record.call, NOBODY))
    assert (left.state, detached.state) == (State.CANCELLED, State.DELAYED)


def test_retention_counts_from_the_end(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=LATER, retention_s=5.0)
    assert ledger.redis.ttl(f"{record.call.partition}:call:{record.call}") == -1
    ledger.run(cancel(record.call))
    kept_until = ledger.redis.zscore(f"{record.call.partition}:done", str(record.call))
    assert kept_until == milliseconds(record, "finished_at") + 5000


def test_calls_are_counted_by_tenant_until_they_start_or_end(ledger: BlockingLedger) -> None:
    keys = [new_key("acme"), new_key("acme"), new_key("globex"), new_key()]
    for key in keys:
        accepted(ledger, call=key, start=NOW)
    assert count(ledger, "acme") == DelayedCount(4, 2)
    assert count(ledger) == DelayedCount(4, 0)
    ledger.run(start(keys[0], PUSH))
    assert count(ledger, "acme") == DelayedCount(3, 1)
    ledger.run(cancel(keys[1]))
    ledger.run(discard(keys[2]))
    assert [count(ledger, one).of_owner for one in ("acme", "globex")] == [0, 0]
    assert count(ledger).all == 1


def test_a_call_whose_record_was_lost_is_forgotten(ledger: BlockingLedger) -> None:
    record = accepted(ledger, call=new_key("acme"), start=NOW)
    ledger.redis.delete(f"{record.call.partition}:call:{record.call}")
    assert due(ledger) == []
    assert count(ledger, "acme") == DelayedCount(0, 0)
    assert ledger.run(start(record.call, PUSH)) is not None


def test_a_description_says_when_the_call_starts(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=LATER)
    description = ledger.run(describe(record.call, 100))
    assert isinstance(description, Description)
    assert description.state is State.DELAYED
    assert description.start_ms - description.created_ms == 600_000
    assert description.queued_ms == 0


def test_a_known_id_is_found_whatever_the_second_accept_says(ledger: BlockingLedger) -> None:
    record = accepted(ledger, start=LATER)
    again = accept(record.call, new_call(start=NOW), NOBODY, Push())
    assert ledger.run(again) is not None
    assert record.state is State.DELAYED
