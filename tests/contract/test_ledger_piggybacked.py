"""Calls that another call's message names do not count as missing messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lost_calls import certainly_lost, probably_lost
from forebay_backends.ledger.operations.attempts import begin, claim, release
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import accept, cancel, discard
from forebay_backends.ledger.operations.maintenance import (
    QueueBacklog,
    UnclaimedCall,
    mark_resent,
    unclaimed,
)
from tests.contract.records import NOBODY, QUEUE, WORKER, new_call, new_key, with_lease
from tests.harness import eventually

LEASE_S = 0.05
"""The lease of these tests."""


def accepted(ledger: BlockingLedger, *, piggybacked: bool) -> CallKey:
    """A new call."""
    call = new_key()
    ledger.run(accept(call, new_call(), NOBODY, Push(), piggybacked=piggybacked))
    return call


def waiting(ledger: BlockingLedger) -> QueueBacklog:
    """The waiting calls, with a short lease."""
    looks = [with_lease(unclaimed(n, [QUEUE]), LEASE_S) for n in range(PARTITIONS)]
    return sum((ledger.run(look)[QUEUE] for look in looks), QueueBacklog(0, ()))


def old(ledger: BlockingLedger, count: int) -> QueueBacklog:
    """The waiting calls, when that many have waited for a lease."""
    eventually(lambda: len(waiting(ledger).old) == count, f"{count} old calls", 20.0)
    return waiting(ledger)


def calls(found: list[UnclaimedCall]) -> list[CallKey]:
    return [one.call for one in found]


def test_a_message_for_several_calls_counts_once(ledger: BlockingLedger) -> None:
    for piggybacked in (False, True, True):
        accepted(ledger, piggybacked=piggybacked)
    found = old(ledger, 3)
    assert found.count == 1
    assert probably_lost(found, depth=1) == []
    assert len(probably_lost(found, depth=0)) == 3


def test_piggybacked_calls_are_overtaken_like_others(ledger: BlockingLedger) -> None:
    rider = accepted(ledger, piggybacked=True)
    old(ledger, 1)
    later = new_key()
    while later.partition != rider.partition:
        later = new_key()
    ledger.run(accept(later, new_call(), NOBODY, Push()))
    ledger.run(claim(later, 1, WORKER))
    assert calls(certainly_lost(waiting(ledger))) == [rider]


LEAVES: dict[str, Callable[[BlockingLedger, CallKey], object]] = {
    "claimed": lambda ledger, call: ledger.run(claim(call, 1, WORKER)),
    "begun": lambda ledger, call: ledger.run(begin(call, 1, WORKER, "control")),
    "cancelled": lambda ledger, call: ledger.run(cancel(call)),
    "forgotten": lambda ledger, call: ledger.run(discard(call)),
}


@pytest.mark.parametrize("leave", LEAVES)
def test_a_piggybacked_call_that_ends_is_not_counted_any_more(
    ledger: BlockingLedger, leave: str
) -> None:
    rider = accepted(ledger, piggybacked=True)
    stays = accepted(ledger, piggybacked=False)
    LEAVES[leave](ledger, rider)
    found = old(ledger, 1)
    assert (found.count, calls(list(found.old))) == (1, [stays])


def test_a_resent_piggybacked_call_has_its_own_message(ledger: BlockingLedger) -> None:
    accepted(ledger, piggybacked=True)
    (rider,) = old(ledger, 1).old
    assert rider.piggybacked
    ledger.run(mark_resent(rider))
    (alone,) = old(ledger, 1).old
    assert not alone.piggybacked
    assert waiting(ledger).count == 1


@pytest.mark.parametrize("claimed", [True, False])
def test_a_released_piggybacked_call_gets_its_own_message(
    ledger: BlockingLedger, claimed: bool
) -> None:
    rider = accepted(ledger, piggybacked=True)
    if claimed:
        ledger.run(claim(rider, 1, WORKER))
    ledger.run(release(rider, 1, WORKER))
    assert waiting(ledger).count == 1
    assert calls(certainly_lost(waiting(ledger))) == [rider]
