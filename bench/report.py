"""Figures as a table for a terminal, as JSON, and as Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from bench.rounds import Figure, Ratio
from bench.systems import BLAS_THREADS, CONCURRENCY

COMMAND = "make bench"
_COLUMNS = ("figure", "Forebay", "against", "ratio (spread)", "goal", "met")


def table(figures: Sequence[Figure]) -> Table:
    """The figures, for people at a terminal."""
    shown = Table(*_COLUMNS, title="medians; spread: lowest to highest round", show_lines=True)
    for figure in figures:
        shown.add_row(*_cells(figure))
    return shown


def write(folder: Path, name: str, machine: dict[str, Any], figures: Sequence[Figure]) -> None:
    """Writes NAME.json, with every round, and README.md, the table."""
    folder.mkdir(parents=True, exist_ok=True)
    results = {
        "command": COMMAND,
        "machine": machine,
        "workers": {"pool": "prefork", "concurrency": CONCURRENCY, "blas_threads": BLAS_THREADS},
        "figures": [_as_json(figure) for figure in figures],
    }
    (folder / f"{name}.json").write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    (folder / "README.md").write_text(_markdown(name, machine, figures))


def _cells(figure: Figure) -> tuple[str, ...]:
    theirs, ratio = figure.theirs, figure.ratio
    return (
        f"{figure.title}: {figure.ours.name}",
        f"{_amount(figure.ours.median)} {figure.unit}",
        "" if theirs is None else f"{_amount(theirs.median)} {figure.unit}, {theirs.name}",
        _values(figure.ours.values) if ratio is None else _ratio(ratio),
        _goal(figure),
        {None: "", True: "yes", False: "no"}[figure.met],
    )


def _ratio(ratio: Ratio) -> str:
    return f"{_amount(ratio.median)}× ({_amount(ratio.lowest)} to {_amount(ratio.highest)})"


def _values(values: Sequence[float]) -> str:
    return f"({_amount(min(values))} to {_amount(max(values))})"


def _goal(figure: Figure) -> str:
    goal = figure.goal
    if goal is None:
        return ""
    unit = f" {figure.unit}" if figure.theirs is None else "×"
    return f"{'≤' if goal.at_most else '≥'} {goal.bound:g}{unit}"


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _as_json(figure: Figure) -> dict[str, Any]:
    ratio = figure.ratio
    return {
        "key": figure.key,
        "title": figure.title,
        "unit": figure.unit,
        "ours": _series(figure.ours.name, figure.ours.values, figure.ours.median),
        "theirs": figure.theirs
        and _series(figure.theirs.name, figure.theirs.values, figure.theirs.median),
        "ratio": ratio
        and {
            "rounds": [round(value, 4) for value in ratio.values],
            "median": round(ratio.median, 4),
            "lowest": round(ratio.lowest, 4),
            "highest": round(ratio.highest, 4),
        },
        "goal": figure.goal and vars(figure.goal),
        "met": figure.met,
    }


def _series(name: str, values: Sequence[float], median: float) -> dict[str, Any]:
    return {
        "name": name,
        "rounds": [round(value, 4) for value in values],
        "median": round(median, 4),
    }


def _markdown(name: str, machine: dict[str, Any], figures: Sequence[Figure]) -> str:
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *(_cells(figure) for figure in figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    packages = ", ".join(f"{package} {it}" for package, it in machine["packages"].items())
    return f"""# What Forebay costs and gains

Written by `{COMMAND}`, which takes these figures anew; every round is in `{name}.json`.

{chr(10).join(lines)}

Medians of rounds in which the contenders took turns. A
ratio is made within each round; given are their median and, in brackets, the lowest and the
highest. All on one machine at once: callers, gateway, workers (prefork, concurrency
{CONCURRENCY}, {BLAS_THREADS} BLAS threads, the rivals likewise) and one embedded server, its
append-only file on. The rivals' tasks are the tutorial's own, on another database of that server.

{machine["date"]}; {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB;
{machine["kernel"]}; Python {machine["python"]}; {packages}.
"""
