"""The runs of calls in a process: an ephemeral call may run twice at a time."""

from __future__ import annotations

from forebay_workers.handler.running_calls import RunningCalls
from tests.unit.samples import context

CALL, OTHER = ("call", 1), ("other", 1)


def test_both_runs_of_a_call_are_found_until_each_ends() -> None:
    running, first, second, other = RunningCalls(), context(), context(), context()
    running.add(CALL, first)
    running.add(CALL, second)
    running.add(OTHER, other)
    assert running.of(CALL) == (first, second)
    assert list(running) == [first, second, other]
    running.remove(CALL, first)
    assert running.of(CALL) == (second,)
    running.remove(CALL, second)
    assert running.of(CALL) == ()
    assert list(running) == [other]
