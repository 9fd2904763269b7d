"""Saves and loads a run's results, with every round, as JSON, from which the report is made."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench.rounds import Absent, Chart, Figure, Goal, Line, Series

_DIGITS = 6


@dataclass(frozen=True)
class Results:
    """The results of a run, with the machine, the workers and the total time."""

    command: str
    machine: dict[str, Any]
    workers: dict[str, Any]
    seconds: float
    figures: tuple[Figure, ...]
    charts: tuple[Chart, ...]


def results(
    found: Iterable[Figure | Chart],
    *,
    command: str,
    machine: dict[str, Any],
    workers: dict[str, Any],
    seconds: float,
) -> Results:
    """The results of a run: figures sorted by row (those without a row last), and charts."""
    everything = tuple(found)
    figures = (it for it in everything if isinstance(it, Figure))
    charts = tuple(it for it in everything if isinstance(it, Chart))
    ordered = sorted(figures, key=lambda figure: (figure.row is None, figure.row or 0))
    return Results(command, machine, workers, round(seconds), tuple(ordered), charts)


def save(path: Path, results: Results) -> None:
    content = {
        **{name: getattr(results, name) for name in ("command", "machine", "workers", "seconds")},
        "figures": [_of_figure(figure) for figure in results.figures],
        "charts": [_of_chart(chart) for chart in results.charts],
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def load(path: Path) -> Results:
    content = json.loads(path.read_text())
    figures = tuple(map(_figure, content.pop("figures")))
    return Results(
        **content | {"figures": figures, "charts": tuple(map(_chart, content["charts"]))}
    )


def _of_figure(figure: Figure) -> dict[str, Any]:
    ratio = figure.ratio
    return {
        "row": figure.row,
        "key": figure.key,
        "title": figure.title,
        "unit": figure.unit,
        "ours": _of_series(figure.ours),
        "theirs": _of_rival(figure.theirs),
        "ratio": ratio
        and {
            "rounds": _rounded(ratio.values),
            "median": _round(ratio.median),
            "lowest": _round(ratio.lowest),
            "highest": _round(ratio.highest),
        },
        "goal": figure.goal and asdict(figure.goal),
        "met": figure.met,
    }


def _figure(content: dict[str, Any]) -> Figure:
    goal = content["goal"]
    return Figure(
        key=content["key"],
        title=content["title"],
        unit=content["unit"],
        ours=_series(content["ours"]),
        theirs=_rival(content["theirs"]),
        goal=goal and Goal(**goal),
        row=content["row"],
    )


def _of_rival(rival: Series | Absent | None) -> dict[str, Any] | None:
    match rival:
        case Absent():
            return asdict(rival)
        case Series():
            return _of_series(rival)
        case None:
            return None


def _rival(content: dict[str, Any] | None) -> Series | Absent | None:
    if content is None:
        return None
    return Absent(**content) if "reason" in content else _series(content)


def _of_series(series: Series) -> dict[str, Any]:
    return {
        "name": series.name,
        "rounds": _rounded(series.values),
        "median": _round(series.median),
    }


def _series(content: dict[str, Any]) -> Series:
    return Series(content["name"], tuple(content["rounds"]))


def _of_chart(chart: Chart) -> dict[str, Any]:
    lines = [
        {**vars(line), "points": [{"x": x, **_of_series(y)} for x, y in line.points]}
        for line in chart.lines
    ]
    return {**vars(chart), "lines": lines}


def _chart(content: dict[str, Any]) -> Chart:
    lines = tuple(
        Line(**line | {"points": tuple((at["x"], _series(at)) for at in line["points"])})
        for line in content["lines"]
    )
    return Chart(**{**content, "lines": lines})


def _rounded(values: Sequence[float]) -> list[float]:
    return [_round(value) for value in values]


def _round(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
