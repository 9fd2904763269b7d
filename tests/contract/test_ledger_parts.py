"""Parts of an attempt's work, which several workers compute."""

from __future__ import annotations

import pytest

from forebay_backends.ledger.client import BlockingLedger
from forebay_backends.ledger.frames import PartDelivered, parse_control
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.calls import (
    Begun,
    Operation,
    Refused,
    cancel,
    finish,
    release,
)
from forebay_backends.ledger.operations.parts import Taken, collect, deliver, join, share, take
from tests.contract.channel import Channel
from tests.contract.records import OTHER_WORKER, WORKER, Record, running, sweep_all
from tests.harness import eventually

NEVER_S = 3600.0
NONE_NOW = Taken(None, more=True)
NONE_LEFT = Taken(None, more=False)
CONTENT = [b"first half of ", b"a part"]


def shared(
    ledger: BlockingLedger, count: int = 3, window: int = 3, control: str = "control"
) -> Record:
    """A running call whose work is in parts."""
    record = running(ledger, control=control)
    assert ledger.run(share(record.call, 1, count, window)) is None
    return record


def taken(
    record: Record, worker: str = OTHER_WORKER, patience_s: float = NEVER_S, *, keep: bool = False
) -> Taken:
    """What the worker is given."""
    found = record.ledger.run(take(record.call, 1, worker, patience_s, keep=keep))
    assert isinstance(found, Taken)
    return found


def delivered(record: Record, part: int, content: list[bytes] = CONTENT) -> list[Refused | None]:
    """The ledger's answers to a part's pieces."""
    return record.ledger.run_all(deliver(record.call, 1, part, content))


def collected(record: Record, part: int) -> list[bytes] | None:
    """The part's pieces, as the owner has them."""
    count = record.ledger.run(collect(record.call, 1, part))
    assert isinstance(count, int)
    return record.ledger.pieces(record.call, part, count) if count else None


def held(record: Record) -> int:
    """How much the ledger has of what was shared."""
    return int(record.ledger.redis.exists(record.call.parts))  # type: ignore[arg-type]


def test_every_part_is_taken_once_in_order_by_whoever_asks(ledger: BlockingLedger) -> None:
    record = shared(ledger, count=3)
    assert [taken(record, worker).part for worker in (WORKER, OTHER_WORKER, WORKER)] == [0, 1, 2]
    assert taken(record) == NONE_LEFT


def test_one_who_joins_is_given_what_the_owner_was(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    joined = ledger.run(join(record.call, 1))
    assert isinstance(joined, Begun)
    assert (joined.method, joined.request) == ("pkg.Service.Method", b"request")
    assert (joined.metadata, joined.timeout_s) == (b"metadata", None)


def test_there_is_nothing_to_join_before_anything_is_shared(ledger: BlockingLedger) -> None:
    record = running(ledger)
    assert ledger.run(join(record.call, 1)) == Refused("UNSHARED")


def test_a_take_whose_answer_was_lost_takes_the_same_part_again(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    operation = take(record.call, 1, WORKER, NEVER_S, keep=True)
    assert ledger.run(operation) == ledger.run(operation) == Taken(0, more=True)
    assert taken(record).part == 1


def test_a_part_is_collected_as_it_was_delivered_and_its_owner_is_told(
    ledger: BlockingLedger, control: Channel
) -> None:
    record = shared(ledger, control=control.name)
    taken(record)
    assert collected(record, 0) is None
    first, last = deliver(record.call, 1, 0, CONTENT)
    assert ledger.run(last) is None
    assert (collected(record, 0), control.heard()) == (None, [])
    assert ledger.run(first) is None
    assert collected(record, 0) == CONTENT
    told = [parse_control(frame) for frame in control.heard()]
    assert told == [(str(record.call), 1, PartDelivered(0))]


def test_a_part_is_stored_once_whoever_else_delivers_it(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    assert delivered(record, 0) == [None, None]
    assert delivered(record, 0, [b"something", b"else"]) == [None, None]
    assert collected(record, 0) == CONTENT
    assert taken(record).part == 1


def test_what_was_collected_goes_and_is_not_stored_again(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    for part in (0, 1):
        delivered(record, part)
    assert collected(record, 1) == CONTENT
    assert delivered(record, 0) == [None, None]
    assert ledger.pieces(record.call, 0, 2) is None
    fields = {name.decode().rpartition(":")[0] for name in ledger.redis.hkeys(record.call.parts)}  # type: ignore[union-attr]
    assert fields == {"", "1", "pieces", "stored"}


def test_parts_beyond_the_window_are_neither_given_nor_taken_in(ledger: BlockingLedger) -> None:
    record = shared(ledger, count=9, window=2)
    assert [taken(record).part for _ in range(2)] == [0, 1]
    assert taken(record) == NONE_NOW
    assert delivered(record, 2) == [Refused("GAP")] * 2
    assert collected(record, 1) is None
    assert taken(record).part == 2
    assert taken(record) == NONE_NOW
    collected(record, 7)
    assert [taken(record).part for _ in range(2)] == [7, 8]
    assert taken(record) == NONE_LEFT


def test_a_part_that_takes_too_long_is_given_to_another(ledger: BlockingLedger) -> None:
    record = shared(ledger, count=1)
    assert taken(record).part == 0
    assert taken(record, WORKER) == NONE_LEFT
    eventually(lambda: taken(record, WORKER, 0.05).part == 0, "the claim lapses", 3.0)
    assert taken(record, OTHER_WORKER, NEVER_S) == NONE_LEFT


def test_what_its_owner_took_does_not_lapse(ledger: BlockingLedger) -> None:
    record = shared(ledger, count=2)
    assert taken(record, WORKER, keep=True).part == 0
    assert taken(record, OTHER_WORKER).part == 1
    # The other's claim, made later, has lapsed by now.
    eventually(lambda: taken(record, "third", 0.05).part == 1, "a claim lapses", 3.0)


@pytest.mark.parametrize("pieces", [[b"whole"], CONTENT])
def test_a_part_that_was_delivered_is_taken_no_more(
    ledger: BlockingLedger, pieces: list[bytes]
) -> None:
    record = shared(ledger, count=1)
    taken(record)
    delivered(record, 0, pieces)
    assert taken(record, WORKER, 0.0) == NONE_LEFT


def every_operation(record: Record, attempt: int) -> list[Operation[object]]:
    call = record.call
    return [
        share(call, attempt, 3, 3),
        join(call, attempt),
        take(call, attempt, OTHER_WORKER, NEVER_S),
        *deliver(call, attempt, 0, [b"late"]),
        collect(call, attempt, 0),
    ]


def test_nothing_is_shared_with_another_attempt(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    answers = [ledger.run(operation) for operation in every_operation(record, 2)]
    assert answers == [Refused("STALE")] * 5
    assert collected(record, 0) is None


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.CANCELLED])
def test_nothing_of_what_was_shared_outlives_the_call(ledger: BlockingLedger, state: State) -> None:
    record = shared(ledger)
    delivered(record, 1)
    assert held(record)
    if state is State.CANCELLED:
        ledger.run(cancel(record.call))
    else:
        ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    assert not held(record)
    answers = [ledger.run(operation) for operation in every_operation(record, 1)]
    assert answers == [Refused(str(state))] * 5
    assert not held(record)


def test_a_later_attempt_begins_with_nothing(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    delivered(record, 0)
    assert ledger.run(release(record.call, 1, WORKER)) is None
    assert not held(record)
    answers = [ledger.run(operation) for operation in every_operation(record, 1)]
    assert answers == [Refused("QUEUED")] * 5


def test_a_late_hand_finds_the_call_expired(ledger: BlockingLedger) -> None:
    record = running(ledger, run_limit_s=0.05)
    ledger.run(share(record.call, 1, 3, 3))
    eventually(record.is_past_its_deadline, "the deadline passes", 3.0)
    assert ledger.run(take(record.call, 1, OTHER_WORKER, NEVER_S)) == Refused("EXPIRED")
    assert not held(record)


def test_an_owner_whose_ledger_lost_the_parts_is_told(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    ledger.redis.delete(record.call.parts)
    assert ledger.run(collect(record.call, 1, 0)) == Refused("GAP")
    assert not held(record)
    assert delivered(record, 0) == [Refused("GAP")] * 2
    assert taken(record) == NONE_LEFT


def test_the_sweep_leaves_nothing_of_a_shared_call(ledger: BlockingLedger) -> None:
    record = shared(ledger)
    ledger.redis.zadd(f"{record.call.partition}:done", {str(record.call): 1})
    sweep_all(ledger)
    assert not held(record)
