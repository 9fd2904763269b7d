"""Remembering whose callers have left."""

from __future__ import annotations

from forebay_workers.lease.abandoned_calls import AbandonedCalls


def test_a_call_that_was_left_is_remembered_for_a_while() -> None:
    left = AbandonedCalls(kept_s=10.0)
    left.add("a", now=0.0)
    assert "a" in left
    assert "b" not in left
    left.add("b", now=9.0)
    assert "a" in left
    left.add("c", now=10.5)
    assert "a" not in left
    assert "b" in left


def test_only_so_many_are_remembered_the_latest() -> None:
    left = AbandonedCalls(most=2)
    for call_id in "abc":
        left.add(call_id, now=0.0)
    assert [call_id in left for call_id in "abc"] == [False, True, True]
