"""When the states of tasks are read from a result backend that does not announce results."""

from __future__ import annotations

import pytest

from forebay_gateway.plain.brokers.poll_schedule import PollSchedule


def times_of_reads(schedule: PollSchedule, until_s: float) -> list[float]:
    """When a task in flight is read whose state never changes, in steps of a millisecond."""
    times = []
    for step in range(round(until_s * 1000) + 1):
        now = step / 1000
        if schedule.due(["task"], now):
            times.append(now)
            schedule.is_news("task", b"", True, now)
    return times


def test_a_task_is_read_first_after_50_ms_then_at_intervals_that_grow_to_a_second() -> None:
    times = times_of_reads(PollSchedule(), until_s=6.0)
    gaps = [later - earlier for earlier, later in zip([0.0, *times], times, strict=False)]
    growing = [0.05, 0.075, 0.1125, 0.16875, 0.253125, 0.3796875, 0.56953125, 0.854296875]
    assert gaps == pytest.approx([*growing, 1.0, 1.0, 1.0], abs=0.0011)


def test_a_task_that_is_no_longer_in_flight_is_forgotten() -> None:
    schedule = PollSchedule()
    times_of_reads(schedule, until_s=3.0)
    assert schedule.due([], 10.0) == []
    assert schedule.is_news("task", b"done", True, 10.1) is False  # a read that took long
    assert schedule.due(["task"], 20.0) == []
    assert schedule.due(["task"], 20.05) == ["task"]


def test_the_200_longest_due_are_read_first() -> None:
    schedule = PollSchedule()
    early = [f"early {number}" for number in range(150)]
    late = [f"late {number}" for number in range(150)]
    schedule.due(early, 0.0)
    schedule.due([*late, *early], 0.01)
    due = schedule.due([*late, *early], 1.0)
    assert due == [*early, *late[:50]]
    for task_id in due:
        schedule.is_news(task_id, b"", True, 1.0)
    assert schedule.due([*late, *early], 1.0) == late[50:]


def test_a_state_is_news_once() -> None:
    schedule = PollSchedule()
    schedule.due(["task", "other"], 0.0)
    states = [b"", b"begun", b"begun", b"", b"begun", b"done", b"done"]
    news = [schedule.is_news("task", state, True, 1.0) for state in states]
    assert news == [False, True, False, False, False, True, False]
    assert schedule.is_news("other", b"done", True, 1.0)


def test_an_unreadable_state_is_news_after_8_reads_in_a_row() -> None:
    schedule = PollSchedule()
    schedule.due(["task"], 0.0)
    assert not any(schedule.is_news("task", b"half", False, 1.0) for _ in range(7))
    assert schedule.is_news("task", b"whole", True, 1.0)
    assert [schedule.is_news("task", b"half", False, 1.0) for _ in range(8)] == [False] * 7 + [True]
