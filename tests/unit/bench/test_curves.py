"""The benchmark's figures as functions of a growing number."""

from __future__ import annotations

from bench.curves import Curve
from bench.rounds import Goal

RATES = {1: (5.0, 4.0), 2: (10.0, 8.0), 8: (20.0, 32.0)}


def test_a_constant_figure_is_compared_with_the_first() -> None:
    figures = list(Curve("key", "title", "ms", "gateways", RATES).figures(Goal(1.05), row=13))
    assert [figure.key for figure in figures] == ["key_2", "key_8"]
    assert [figure.ratio.values for figure in figures if figure.ratio] == [(2, 2), (4, 8)]
    assert [figure.met for figure in figures] == [False, False]
    assert [figure.row for figure in figures] == [13, 13]


def test_a_growing_figure_is_compared_with_a_multiple_of_the_first() -> None:
    curve = Curve("key", "title", "calls/s", "workers", RATES, linear=True)
    figures = list(curve.figures(Goal(0.95, at_most=False), row=13))
    assert [figure.ratio.values for figure in figures if figure.ratio] == [(1, 1), (0.5, 1)]
    assert [figure.met for figure in figures] == [True, False]


def test_a_numbers_own_value_counts_where_the_first_is_more_than_one() -> None:
    curve = Curve("key", "title", "calls/s", "workers", {2: (10.0,), 6: (27.0,)}, linear=True)
    (figure,) = curve.figures(Goal(0.95, at_most=False), row=13)
    assert figure.theirs is not None
    assert figure.theirs.values == (30,)


def test_a_chart_has_every_number_on_both_lines() -> None:
    chart = Curve("key", "title", "calls/s", "workers", RATES, linear=True).chart(log_x=True)
    measured, linear = chart.lines
    assert [(x, series.median) for x, series in measured.points] == [(1, 4.5), (2, 9), (8, 26)]
    assert [(x, series.median) for x, series in linear.points] == [(1, 4.5), (2, 9), (8, 36)]
    assert (chart.x, chart.y, chart.log_x) == ("workers", "calls/s", True)
