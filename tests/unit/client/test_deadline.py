"""Deadlines, on a clock that the test sets."""

from __future__ import annotations

import math

import pytest

from forebay.deadline import LONGEST_S, Deadline
from tests.unit.samples import FakeClock


def test_the_remaining_time_shrinks_and_is_never_negative() -> None:
    clock = FakeClock()
    deadline = Deadline.after(5.0, clock)
    assert (deadline.remaining_s(), deadline.passed) == (5.0, False)
    clock.now += 4.5
    assert (deadline.remaining_s(), deadline.passed) == (0.5, False)
    clock.now += 3.0
    assert (deadline.remaining_s(), deadline.passed) == (0.0, True)


def test_a_deadline_has_passed_at_its_exact_time() -> None:
    clock = FakeClock()
    deadline = Deadline.after(5.0, clock)
    clock.now += 5.0
    assert deadline.passed


def test_a_deadline_in_the_past_has_passed() -> None:
    assert Deadline.after(-1.0, FakeClock()).passed


def test_no_bound_never_passes_and_is_no_timeout() -> None:
    clock = FakeClock()
    never = Deadline.after(None, clock)
    clock.now += 1e12
    assert not never.passed
    assert never.remaining_s() == math.inf
    assert never.timeout_s() is None


def test_a_bound_becomes_a_timeout_of_the_remaining_time() -> None:
    clock = FakeClock()
    deadline = Deadline.after(2.0, clock)
    clock.now += 0.5
    assert deadline.timeout_s() == 1.5
    clock.now += 10
    assert deadline.timeout_s() == 0.0


def test_the_sooner_of_two_is_counted_from_now() -> None:
    clock = FakeClock()
    deadline = Deadline.after(10.0, clock)
    clock.now += 4.0
    assert deadline.sooner(2.0).remaining_s() == 2.0
    assert deadline.sooner(60.0) == deadline
    assert Deadline.after(None, clock).sooner(3.0).remaining_s() == 3.0


def test_the_sooner_deadline_runs_on_the_same_clock() -> None:
    clock = FakeClock()
    soon = Deadline.after(None, clock).sooner(3.0)
    clock.now += 3.0
    assert soon.passed


def test_the_real_clock_is_the_default() -> None:
    assert 0 < Deadline.after(60.0).remaining_s() <= 60.0


@pytest.mark.parametrize("seconds", [LONGEST_S, 1e11, 1e300, math.inf])
def test_100_years_and_more_count_as_infinite(seconds: float) -> None:
    assert Deadline.after(seconds, FakeClock()).timeout_s() is None
    assert Deadline.after(LONGEST_S - 1, FakeClock()).timeout_s() == LONGEST_S - 1


def test_nan_is_not_a_deadline() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Deadline.after(math.nan)


def test_the_longest_time_is_100_years() -> None:
    assert LONGEST_S == 3_153_600_000.0
