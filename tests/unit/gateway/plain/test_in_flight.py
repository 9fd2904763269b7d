"""Plain calls that are queried, or fail, because there is no news. Time is a number."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from forebay.errors import Draining, TaskRevoked
from forebay_gateway.admission.admission import Admission
from forebay_gateway.plain.brokers.celery_messages import PlainMessage
from forebay_gateway.plain.in_flight import InFlight, PlainCall, labelled
from forebay_gateway.plain.task_outcome import Progress, Result
from tests.unit.gateway.plain.mapping.test_mapping import METHODS


def call(name: str = "a", max_silence_s: float = 60.0) -> PlainCall:
    permit = Admission(10, 1 << 30).admit("caller")
    message = PlainMessage(name, "plain.do", "plain", None, "replies")
    return PlainCall(
        name, METHODS["Do"], message, permit, max_silence_s, inf, last_news_at=0.0, sent=True
    )


@pytest.fixture
def in_flight() -> InFlight:
    return InFlight()


def test_a_call_with_recent_news_is_never_queried(in_flight: InFlight) -> None:
    in_flight.add(call())
    for now in range(4, 200, 4):
        in_flight.on_news("a", now)
        assert in_flight.start_queries(now + 3.9) == []


def test_lines_about_a_call_name_its_tenant() -> None:
    with labelled(replace(call(), tenant="acme")) as labels:
        assert (labels.call_id, labels.tenant) == ("a", "acme")


def test_a_silent_call_is_queried_every_5_s(in_flight: InFlight) -> None:
    in_flight.add(call())
    queried_at = [now for now in range(21) if in_flight.start_queries(now)]
    assert queried_at == [5, 10, 15, 20]


def test_a_short_limit_on_silence_means_more_queries(in_flight: InFlight) -> None:
    in_flight.add(call(max_silence_s=3))
    assert [now for now in range(5) if in_flight.start_queries(now)] == [1, 2, 3, 4]


def test_a_call_that_was_not_sent_yet_is_neither_queried_nor_failed(in_flight: InFlight) -> None:
    unsent = call()
    unsent.sent = False
    in_flight.add(unsent)
    assert in_flight.start_queries(1000) == []
    assert in_flight.silent_too_long(1000) == []


def test_a_call_fails_after_its_limit_on_silence_and_two_queries_without_an_answer(
    in_flight: InFlight,
) -> None:
    silent = call(max_silence_s=10)
    in_flight.add(silent)
    assert in_flight.silent_too_long(11) == []
    for now in (11, 15):
        in_flight.start_queries(now)
        assert in_flight.silent_too_long(now) == []
    in_flight.start_queries(19)  # its reply is still awaited, unlike those of the others
    assert in_flight.silent_too_long(19) == [silent]


def test_news_of_a_call_restart_its_limit_on_silence(in_flight: InFlight) -> None:
    in_flight.add(call(max_silence_s=10))
    in_flight.start_queries(5)
    in_flight.on_news("a", 9.0, running=True)
    for now in (13, 16.5, 20):
        in_flight.start_queries(now)
    assert in_flight.silent_too_long(18.9) == []
    assert in_flight.silent_too_long(19.1)


def test_news_of_a_call_take_its_refusal_back(in_flight: InFlight) -> None:
    refused = call()
    in_flight.add(refused)
    refused.refusal = TaskRevoked("soon"), "a note"
    in_flight.on_news("a", 1.0)
    assert refused.refusal is None


def test_the_run_time_counts_from_the_first_news_that_the_task_runs(in_flight: InFlight) -> None:
    def over(now: float) -> list[PlainCall]:
        return in_flight.over_run_time(now, lambda _: 10)

    running = call()
    in_flight.add(running)
    in_flight.on_news("a", 5.0)
    assert over(1000) == []
    in_flight.on_news("a", 20.0, running=True)
    in_flight.on_news("a", 30.0, running=True)
    assert over(34.9) == []
    assert over(35.1) == [running]


def test_a_worker_has_replied_where_one_did_since_the_last_news(in_flight: InFlight) -> None:
    silent = call()
    in_flight.add(silent)
    assert not in_flight.has_worker_replied(silent)
    in_flight.on_worker_reply(3.0)
    assert in_flight.has_worker_replied(silent)
    in_flight.on_news("a", 4.0)
    assert not in_flight.has_worker_replied(silent)


def test_only_the_first_ending_counts(in_flight: InFlight) -> None:
    ended = call()
    ended.end(Result(1))
    ended.end(Draining("late"))
    ended.add_progress(Progress(1))
    assert ended.ending == Result(1)
    assert not ended.progress


def test_of_progress_that_is_not_read_the_latest_is_kept() -> None:
    slow = call()
    for number in range(1000):
        slow.add_progress(Progress(number))
    assert [progress.meta for progress in slow.progress] == list(range(936, 1000))


def test_a_call_that_was_removed_is_not_in_flight(in_flight: InFlight) -> None:
    gone = call()
    in_flight.add(gone)
    in_flight.remove(gone)
    assert in_flight.on_news("a", 1.0) is None
    assert list(in_flight) == []
    gone.end(TaskRevoked("late"))
