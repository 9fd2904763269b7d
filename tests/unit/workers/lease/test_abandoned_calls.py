"""The bounded set of abandoned calls."""

from __future__ import annotations

from forebay_backends.ledger.keys import CallKey
from forebay_workers.lease.abandoned_calls import AbandonedCalls

A, B, C = (CallKey(call_id) for call_id in "abc")


def test_an_abandoned_call_is_kept_for_the_retention() -> None:
    abandoned = AbandonedCalls(retention_s=10.0)
    abandoned.add(A, now=0.0)
    assert A in abandoned
    assert B not in abandoned
    abandoned.add(B, now=9.0)
    assert A in abandoned
    abandoned.add(C, now=10.5)
    assert A not in abandoned
    assert B in abandoned


def test_another_owners_call_of_the_id_is_not_abandoned() -> None:
    abandoned = AbandonedCalls()
    abandoned.add(CallKey("a", "acme"), now=0.0)
    assert CallKey("a", "umbrella") not in abandoned
    assert A not in abandoned


def test_only_the_latest_calls_are_kept() -> None:
    abandoned = AbandonedCalls(max_count=2)
    for call in (A, B, C):
        abandoned.add(call, now=0.0)
    assert [call in abandoned for call in (A, B, C)] == [False, True, True]
