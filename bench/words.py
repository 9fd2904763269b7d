"""Figures in words, for tables and plots."""

from __future__ import annotations

from bench.rounds import Figure

_SMALL = 0.2


def amount(value: float) -> str:
    """Below 100, three significant digits; from 100 on, an integer with thousands separators."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(ratio: float) -> str:
    """A ratio such as "1.5×"; one below 0.2 is written as a fraction, such as "1/12×"."""
    return f"1/{amount(1 / ratio)}×" if 0 < ratio < _SMALL else f"{amount(ratio)}×"


def goal(figure: Figure) -> str:
    """The goal, such as "≤ 0.7×"; empty if there is none."""
    if figure.goal is None:
        return ""
    bound = figure.goal.bound
    is_ratio = figure.theirs is not None and not figure.goal.absolute
    words = times(bound) if is_ratio else f"{amount(bound)} {figure.unit}"
    return f"{'≤' if figure.goal.at_most else '≥'} {words}"
