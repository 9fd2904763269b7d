"""The statistics of a load process."""

from __future__ import annotations

import time

import pytest

from bench.load import WARM_UP_S, Window, of_times


def test_answers_count_after_the_warm_up_and_until_the_end() -> None:
    window = Window(2.0)
    assert not window.counts(time.perf_counter())
    assert window.counts(window.begin)
    assert window.end - window.begin == pytest.approx(2.0)
    assert window.begin - time.perf_counter() <= WARM_UP_S
    assert not window.counts(window.end)


def test_a_load_has_its_rate_and_the_times_of_its_calls() -> None:
    times = [at / 1000 for at in range(1, 101)]
    load = of_times(times, Window(2.0), cpu_s=0.002, calls=150, failures={})
    assert load.rate == 50
    assert load.p50_ms == pytest.approx(50)
    assert load.p99_ms == pytest.approx(99)
    assert load.cpu_us == pytest.approx(20)
    assert load.calls == 150


def test_a_load_without_a_response_reports_the_errors_of_its_calls() -> None:
    with pytest.raises(SystemExit, match="grpc-status 14"):
        of_times([], Window(1.0), cpu_s=0.0, calls=0, failures={"grpc-status 14: down": 3})
