"""Figures in words, for tables and plots."""

from __future__ import annotations

from bench.rounds import Figure


def amount(value: float) -> str:
    """Three digits that matter, and thousands apart."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def goal(figure: Figure) -> str:
    """What is to be reached, such as "≤ 0.7×"; empty where there is no goal."""
    if figure.goal is None:
        return ""
    unit = f" {figure.unit}" if figure.theirs is None else "×"
    return f"{'≤' if figure.goal.at_most else '≥'} {figure.goal.bound:.3g}{unit}"
