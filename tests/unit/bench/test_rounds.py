"""The pure part of the benchmark: rounds, ratios and goals."""

from __future__ import annotations

from functools import partial

import pytest

from bench.rounds import (
    Absent,
    Figure,
    Goal,
    Series,
    best_of,
    interleave,
    least_saturating,
    over_starts,
    ratio_of,
)


def test_contenders_take_turns() -> None:
    order: list[str] = []

    def contender(name: str) -> float:
        order.append(name)
        return len(order)

    figures = interleave(3, {name: partial(contender, name) for name in "abc"})
    assert order == [*"abc", *"bca", *"cab"]
    assert figures == {"a": (1, 6, 8), "b": (2, 4, 9), "c": (3, 5, 7)}


def test_the_rounds_of_all_starts_count() -> None:
    starts = iter([{"a": (1, 2), "b": (3, 4)}, {"a": (5, 6), "b": (7, 8)}])
    assert over_starts(2, lambda: next(starts)) == {"a": (1, 2, 5, 6), "b": (3, 4, 7, 8)}


def test_a_ratio_is_made_within_each_round() -> None:
    # The second round is disturbed: both take ten times as long, and the ratio stays.
    ratio = ratio_of(Series("ours", (2, 22, 3)), Series("theirs", (1, 10, 1)))
    assert ratio.values == (2.0, 2.2, 3.0)
    assert (ratio.lowest, ratio.median, ratio.highest) == (2.0, 2.2, 3.0)


def test_series_of_different_rounds_have_no_ratio() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio_of(Series("ours", (1, 2)), Series("theirs", (1,)))


def test_the_median_of_an_even_number_of_rounds_is_between_the_middle_two() -> None:
    assert Series("ours", (4, 1, 3, 2)).median == 2.5


def test_the_better_of_two_rivals_is_chosen_round_by_round() -> None:
    assert best_of((1, 5), (2, 3)) == (2, 5)


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [
        (Goal(1.2), 1.2, True),
        (Goal(1.2), 1.21, False),
        (Goal(5, at_most=False), 5, True),
        (Goal(5, at_most=False), 4.9, False),
    ],
)
def test_a_goal_is_met_up_to_its_bound(goal: Goal, value: float, met: bool) -> None:
    assert goal.met(value) is met


def test_with_a_rival_the_goal_is_on_the_median_ratio() -> None:
    ours, theirs = Series("ours", (1, 1, 9)), Series("theirs", (1, 1, 1))
    assert Figure("key", "title", "ms", ours, theirs, Goal(1.2)).met is True
    assert Figure("key", "title", "ms", ours, theirs).met is None


def test_without_a_rival_the_goal_is_on_the_highest_figure() -> None:
    peaks = Series("peak", (100, 100, 301))
    assert Figure("key", "title", "MB", peaks, goal=Goal(300)).met is False


def test_an_absolute_goal_is_on_our_median_whatever_the_rival_has() -> None:
    ours, goal = Series("ours", (1, 2, 9)), Goal(2, absolute=True)
    assert Figure("key", "title", "ms", ours, Series("theirs", (1, 1, 1)), goal).met is True
    assert Figure("key", "title", "ms", ours, Absent("it", "why"), goal).met is True
    assert Figure("key", "title", "ms", ours, None, Goal(1.9, absolute=True)).met is False


def test_a_load_saturates_if_a_larger_one_gains_at_most_5_percent() -> None:
    assert least_saturating({16: 500, 64: 960, 256: 1000}) == 64
    assert least_saturating({16: 500, 64: 900, 256: 1000}) == 256
    assert least_saturating({16: 1000, 64: 900}) == 16


def test_against_an_absent_rival_no_goal_is_met_or_missed() -> None:
    absent = Figure("key", "title", "ms", Series("ours", (1,)), Absent("it", "why"), Goal(1.2))
    assert absent.ratio is None
    assert absent.met is None
