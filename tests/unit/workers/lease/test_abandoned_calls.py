"""Remembering whose callers have abandoned."""

from __future__ import annotations

from forebay_workers.lease.abandoned_calls import AbandonedCalls


def test_a_call_that_was_left_is_remembered_for_a_while() -> None:
    abandoned = AbandonedCalls(retention_s=10.0)
    abandoned.add("a", now=0.0)
    assert "a" in abandoned
    assert "b" not in abandoned
    abandoned.add("b", now=9.0)
    assert "a" in abandoned
    abandoned.add("c", now=10.5)
    assert "a" not in abandoned
    assert "b" in abandoned


def test_only_so_many_are_remembered_the_latest() -> None:
    abandoned = AbandonedCalls(max_count=2)
    for call_id in "abc":
        abandoned.add(call_id, now=0.0)
    assert [call_id in abandoned for call_id in "abc"] == [False, True, True]
