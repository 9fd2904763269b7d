"""The rate at which tasks begin, from counters that workers report."""

from __future__ import annotations

import pytest

from forebay_gateway.admin.task_rates import WINDOW_S, TaskRates


def test_a_rate_is_what_was_begun_over_the_time_it_took() -> None:
    rates = TaskRates()
    rates.observe(100.0, {"w": {"add": 10, "mul": 1}})
    assert rates.per_second({"add"}) == 0.0
    rates.observe(110.0, {"w": {"add": 30, "mul": 6}})
    assert rates.per_second({"add"}) == pytest.approx(2.0)
    assert rates.per_second({"add", "mul"}) == pytest.approx(2.5)
    assert rates.per_second({"other"}) == 0.0


def test_events_older_than_the_window_do_not_count() -> None:
    rates = TaskRates()
    for second in range(101):
        rates.observe(float(second), {"w": {"add": min(second, 50)}})
    assert rates.per_second({"add"}) == 0.0
    rates.observe(110.0, {"w": {"add": 80}})
    assert rates.per_second({"add"}) == pytest.approx(30 / WINDOW_S, rel=0.05)


def test_workers_start_and_end() -> None:
    rates = TaskRates()
    rates.observe(0.0, {"one": {"add": 1000}})
    rates.observe(10.0, {"one": {"add": 1010}, "two": {"add": 5}})
    rates.observe(20.0, {"two": {"add": 25}})
    assert rates.per_second({"add"}) == pytest.approx(2.0)


def test_a_counter_that_starts_again_is_not_negative() -> None:
    rates = TaskRates()
    rates.observe(0.0, {"w": {"add": 1000}})
    rates.observe(10.0, {"w": {"add": 3}})
    assert rates.per_second({"add"}) == 0.0


def test_a_task_that_a_known_worker_begins_first_later_counts_from_the_windows_start() -> None:
    rates = TaskRates()
    rates.observe(0.0, {"w": {}})
    rates.observe(10.0, {"w": {"add": 20}})
    assert rates.per_second({"add"}) == pytest.approx(2.0)


def test_a_worker_that_restarts_is_counted_again_at_once() -> None:
    rates = TaskRates()
    rates.observe(0.0, {"w": {"add": 1000}})
    rates.observe(10.0, {"w": {"add": 0}})
    rates.observe(20.0, {"w": {"add": 20}})
    assert rates.per_second({"add"}) == pytest.approx(1.0)
