"""A rate over a sliding window of samples."""

from __future__ import annotations

import pytest

from forebay_gateway.admission.rate_window import RateWindow
from forebay_gateway.admission.retry_after import CompletionRate
from tests.unit.samples import FakeClock


def filled(window: RateWindow, seconds: int, events_each: float = 2) -> RateWindow:
    """A window with one sample a second, from second 0."""
    window.start(0)
    for second in range(1, seconds + 1):
        window.add(second, events_each)
    return window


def test_a_window_without_a_sample_has_no_rate() -> None:
    window = RateWindow(10)
    assert window.per_s() is None
    window.start(0)
    assert window.per_s() is None
    window.add(0, 5)
    assert window.per_s() is None  # no time has passed


def test_a_rate_is_events_over_time() -> None:
    assert filled(RateWindow(10), 5).per_s() == 2


def test_a_rate_is_events_over_busy_time_if_that_is_given() -> None:
    window = RateWindow(10)
    window.start(0)
    window.add(1, 6, busy_s=3)
    assert window.per_s() == 2


def test_samples_before_the_window_do_not_count() -> None:
    window = filled(RateWindow(10), 20)
    for second in range(21, 31):
        window.add(second, 0)
    assert window.per_s() == 0


def test_a_window_grows_until_it_has_enough_events_or_is_as_long_as_it_may_be() -> None:
    window = filled(RateWindow(10, longest_s=40, enough_events=20), 20)
    for second in range(21, 41):
        window.add(second, 0)
    assert window.per_s() == pytest.approx(20 / 30)
    for second in range(41, 61):
        window.add(second, 0)
    assert window.per_s() == 0


def test_a_window_with_too_few_events_or_too_short_a_time_has_no_rate() -> None:
    assert filled(RateWindow(10, shortest_s=5), 4).per_s() is None
    assert filled(RateWindow(10, shortest_s=5), 5).per_s() == 2
    assert filled(RateWindow(10, fewest_events=5), 2).per_s() is None
    assert filled(RateWindow(10, fewest_events=5), 3).per_s() == 2


def test_samples_within_the_resolution_are_merged() -> None:
    window = RateWindow(10, resolution_s=1.0)
    window.start(0)
    for sample in range(1, 10_001):
        window.add(sample / 1000, 1)
    assert window.per_s() == pytest.approx(1000)
    assert len(window._samples) <= 12


def test_calls_after_a_long_idle_time_are_counted_over_the_window_alone() -> None:
    clock = FakeClock()
    rate = CompletionRate(clock)
    assert rate.per_s() is None
    clock.now += 3600
    rate.on_end()
    assert rate.per_s() == pytest.approx(0.1)


def test_without_ends_for_long_the_rate_is_at_most_one_in_that_time() -> None:
    clock = FakeClock()
    rate = CompletionRate(clock)
    for _ in range(100):
        clock.now += 0.1
        rate.on_end()
    assert rate.per_s() == pytest.approx(10, rel=0.05)
    clock.now += 50
    assert rate.per_s() == pytest.approx(1 / 50)


def test_ends_just_before_a_long_idle_time_are_not_counted_after_it() -> None:
    clock = FakeClock()
    rate = CompletionRate(clock)
    clock.now += 1
    for _ in range(100):
        rate.on_end()
    clock.now += 50
    assert rate.per_s() == pytest.approx(1 / 50)
    rate.on_end()
    assert rate.per_s() == pytest.approx(0.1)


def test_ends_count_at_once() -> None:
    clock = FakeClock()
    rate = CompletionRate(clock)
    for _ in range(1, 100):
        clock.now += 0.01
        rate.on_end()
        assert rate.per_s() == pytest.approx(100)
