"""The bounded set of abandoned calls."""

from __future__ import annotations

from forebay_workers.lease.abandoned_calls import AbandonedCalls


def test_an_abandoned_call_is_kept_for_the_retention() -> None:
    abandoned = AbandonedCalls(retention_s=10.0)
    abandoned.add("a", now=0.0)
    assert "a" in abandoned
    assert "b" not in abandoned
    abandoned.add("b", now=9.0)
    assert "a" in abandoned
    abandoned.add("c", now=10.5)
    assert "a" not in abandoned
    assert "b" in abandoned


def test_only_the_latest_calls_are_kept() -> None:
    abandoned = AbandonedCalls(max_count=2)
    for call_id in "abc":
        abandoned.add(call_id, now=0.0)
    assert [call_id in abandoned for call_id in "abc"] == [False, True, True]
