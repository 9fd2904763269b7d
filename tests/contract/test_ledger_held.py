"""Calls whose messages a gateway holds back are sent once, and never lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.attempts import begin, claim
from forebay_backends.ledger.operations.base import Push, Refused
from forebay_backends.ledger.operations.calls import accept, cancel
from forebay_backends.ledger.operations.held import (
    HeldCall,
    adopt_held,
    hand_over_held,
    renew_held,
    send_held,
)
from forebay_backends.ledger.operations.maintenance import QueueBacklog, mark_resent, unclaimed
from forebay_backends.ledger.operations.requests import complete
from tests.contract.records import NOBODY, QUEUE, WORKER, new_call, new_key, with_lease
from tests.harness import eventually

LEASE_S = 0.2
"""The lease of looks that find what was left for so long."""
LONG_S = 600.0
"""The lease of looks that find nothing: no test takes so long."""
LIST = "queue-list"


def held(ledger: BlockingLedger) -> CallKey:
    """A call whose message is held back."""
    call = new_key()
    assert ledger.run(accept(call, new_call(), NOBODY, Push(), held=True)) is None
    return call


def backlog(ledger: BlockingLedger, lease_s: float = LONG_S) -> QueueBacklog:
    """What waits, and what of it is old by that lease."""
    looks = [with_lease(unclaimed(n, [QUEUE]), lease_s) for n in range(PARTITIONS)]
    return sum((ledger.run(look)[QUEUE] for look in looks), QueueBacklog(0, ()))


def adopted(ledger: BlockingLedger, lease_s: float = LONG_S, limit: int = 500) -> list[HeldCall]:
    """The calls that another gateway takes over, as not renewed for that lease."""
    looks = [with_lease(adopt_held(n, [QUEUE], limit), lease_s) for n in range(PARTITIONS)]
    return [call for look in looks for call in ledger.run(look)]


def renewed(ledger: BlockingLedger, call: CallKey) -> bool:
    """Whether the call is still held."""
    return ledger.run(renew_held(call.partition, [(QUEUE, call)])) == []


def test_a_held_call_has_no_message_and_is_not_missed(ledger: BlockingLedger) -> None:
    held(ledger)
    found = backlog(ledger)
    assert (found.count, found.old) == (0, ())
    assert probably_lost(found, depth=0) == []


def test_a_call_is_sent_once_and_waits_like_others_then(ledger: BlockingLedger) -> None:
    call = held(ledger)
    assert ledger.run(send_held(call, Push(LIST, b"message"))) is None
    assert ledger.run(send_held(call, Push(LIST, b"message"))) == Refused(State.QUEUED)
    assert ledger.redis.lrange(LIST, 0, -1) == [b"message"]
    assert backlog(ledger).count == 1
    assert not renewed(ledger, call)
    assert adopted(ledger, 0.0) == []
    ledger.run(claim(call, 1, WORKER))
    assert backlog(ledger).count == 0


def test_a_call_that_another_one_carries_has_no_message_of_its_own(ledger: BlockingLedger) -> None:
    first, rider = held(ledger), held(ledger)
    ledger.run(send_held(first, Push()))
    ledger.run(send_held(rider, Push(), piggybacked=True))
    assert backlog(ledger).count == 1
    ledger.run(claim(rider, 1, WORKER))
    ledger.run(claim(first, 1, WORKER))
    assert backlog(ledger).count == 0


def test_another_gateway_takes_over_what_is_not_renewed_for_a_lease(ledger: BlockingLedger) -> None:
    call = held(ledger)
    assert adopted(ledger) == []
    taken: list[HeldCall] = []
    eventually(
        lambda: bool(taken.extend(adopted(ledger, LEASE_S)) or taken), "the call is taken over"
    )
    new = new_call()
    assert taken == [HeldCall(call, QUEUE, 1, new.task, new.priority, new.method)]
    assert adopted(ledger) == [], "one gateway alone takes it"
    assert renewed(ledger, call)


def test_a_gateway_takes_over_a_limited_number_of_a_queues_calls_at_once(
    ledger: BlockingLedger,
) -> None:
    first = held(ledger)
    calls = {first}
    while len(calls) < 3:
        call = new_key()
        if call.partition == first.partition:
            assert ledger.run(accept(call, new_call(), NOBODY, Push(), held=True)) is None
            calls.add(call)
    for call in calls:
        ledger.run(with_lease(hand_over_held(call.partition, [(QUEUE, call)]), LONG_S))
    taken = [{one.call for one in adopted(ledger, limit=2)} for _ in range(3)]
    assert [len(some) for some in taken] == [2, 1, 0]
    assert taken[0] | taken[1] == calls


def test_a_gateway_that_shuts_down_hands_over_at_once(ledger: BlockingLedger) -> None:
    call = held(ledger)
    assert adopted(ledger) == []
    assert ledger.run(with_lease(hand_over_held(call.partition, [(QUEUE, call)]), LONG_S)) == []
    assert backlog(ledger).old == (), "the reaper leaves it to the gateways"
    assert [one.call for one in adopted(ledger)] == [call]
    assert adopted(ledger) == [], "one gateway alone takes it"


def test_the_reaper_sends_what_no_gateway_takes_over_after_two_leases(
    ledger: BlockingLedger,
) -> None:
    call = held(ledger)
    assert backlog(ledger).old == ()
    eventually(lambda: bool(backlog(ledger, LEASE_S).old), "the reaper finds it")
    (lost,) = certainly_lost(backlog(ledger, LEASE_S))
    assert lost.call == call
    ledger.run(mark_resent(lost))
    assert not renewed(ledger, call)
    assert backlog(ledger).count == 1
    assert certainly_lost(backlog(ledger)) == []


def test_a_call_is_held_from_the_end_of_its_requests(ledger: BlockingLedger) -> None:
    call = new_key()
    ledger.run(accept(call, new_call(receiving=True), NOBODY, Push()))
    assert not renewed(ledger, call)
    assert ledger.run(complete(call, Push(), 0, held=True)) is None
    assert renewed(ledger, call)
    assert backlog(ledger).count == 0


ENDS: dict[str, Callable[[BlockingLedger, CallKey], object]] = {
    "cancelled": lambda ledger, call: ledger.run(cancel(call)),
    "claimed": lambda ledger, call: ledger.run(claim(call, 1, WORKER)),
    "begun": lambda ledger, call: ledger.run(begin(call, 1, WORKER, "control")),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_call_that_ends_or_runs_is_not_held_any_more(ledger: BlockingLedger, end: str) -> None:
    call = held(ledger)
    ENDS[end](ledger, call)
    assert not renewed(ledger, call)
    assert isinstance(ledger.run(send_held(call, Push(LIST, b"message"))), Refused)
    assert ledger.redis.llen(LIST) == 0
    assert adopted(ledger, 0.0) == []
    assert backlog(ledger).count == 0
    assert ledger.run(send_held(new_key(), Push())) is not None
