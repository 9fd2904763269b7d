"""Which plain calls are asked for, and which are given up. Time is a number."""

from __future__ import annotations

from math import inf

import pytest

from forebay.errors import Draining, TaskRevoked
from forebay_gateway.admission.admission import Admission
from forebay_gateway.plain.in_flight import InFlight, PlainCall
from forebay_gateway.plain.task_outcome import Progress, Result
from tests.unit.gateway.plain.test_mapping import METHODS


def call(name: str = "a", patience_s: float = 60.0, run_time_s: float = inf) -> PlainCall:
    permit = Admission(10, 1 << 30).admit("caller")
    return PlainCall(name, METHODS["Do"], permit, patience_s, run_time_s, heard_at=0.0, sent=True)


@pytest.fixture
def waiting() -> InFlight:
    return InFlight()


def test_a_call_that_is_heard_of_is_never_asked_for(waiting: InFlight) -> None:
    waiting.add(call())
    for now in range(4, 200, 4):
        waiting.heard("a", now)
        assert waiting.to_ask(now + 3.9) == []


def test_a_silent_call_is_asked_for_now_and_then(waiting: InFlight) -> None:
    waiting.add(call())
    asked_at = [now for now in range(21) if waiting.to_ask(now)]
    assert asked_at == [5, 10, 15, 20]


def test_a_short_patience_asks_more_often(waiting: InFlight) -> None:
    waiting.add(call(patience_s=3))
    assert [now for now in range(5) if waiting.to_ask(now)] == [1, 2, 3, 4]


def test_what_was_not_sent_yet_is_neither_asked_for_nor_given_up(waiting: InFlight) -> None:
    unsent = call()
    unsent.sent = False
    waiting.add(unsent)
    assert waiting.to_ask(1000) == []
    assert waiting.given_up(1000) == []


def test_a_call_is_given_up_when_its_patience_is_over_and_it_was_asked_for_twice(
    waiting: InFlight,
) -> None:
    silent = call(patience_s=10)
    waiting.add(silent)
    assert waiting.given_up(11) == []
    waiting.to_ask(11)
    assert waiting.given_up(11) == []
    waiting.to_ask(15)
    assert waiting.given_up(15) == [silent]


def test_an_answer_gives_a_call_its_patience_anew(waiting: InFlight) -> None:
    waiting.add(call(patience_s=10))
    waiting.to_ask(5)
    waiting.heard("a", 9.0, running=True)
    waiting.to_ask(14)
    waiting.to_ask(18)
    assert waiting.given_up(18.9) == []
    assert waiting.given_up(19.1)


def test_a_call_overruns_by_the_time_that_it_was_first_seen_to_run(waiting: InFlight) -> None:
    running = call(run_time_s=10)
    waiting.add(running)
    waiting.heard("a", 5.0)
    assert waiting.overrun(1000) == []
    waiting.heard("a", 20.0, running=True)
    waiting.heard("a", 30.0, running=True)
    assert waiting.overrun(34.9) == []
    assert waiting.overrun(35.1) == [running]


def test_workers_answer_where_one_did_since_the_call_was_heard_of(waiting: InFlight) -> None:
    silent = call()
    waiting.add(silent)
    assert not waiting.workers_answer(silent)
    waiting.answered(3.0)
    assert waiting.workers_answer(silent)
    waiting.heard("a", 4.0)
    assert not waiting.workers_answer(silent)


def test_the_first_end_counts(waiting: InFlight) -> None:
    ended = call()
    ended.ended(Result(1))
    ended.ended(Draining("late"))
    ended.progressed(Progress(1))
    assert ended.end == Result(1)
    assert not ended.progress


def test_of_states_that_nobody_reads_the_latest_are_kept() -> None:
    slow = call()
    for number in range(1000):
        slow.progressed(Progress(number))
    assert [progress.meta for progress in slow.progress] == list(range(936, 1000))


def test_nobody_waits_for_a_call_that_was_removed(waiting: InFlight) -> None:
    gone = call()
    waiting.add(gone)
    waiting.remove(gone)
    assert waiting.heard("a", 1.0) is None
    assert list(waiting) == []
    gone.ended(TaskRevoked("late"))
