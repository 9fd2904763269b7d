"""Draws panels of the dashboard as an SVG that follows the reader's light or dark scheme."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import StringIO
from itertools import zip_longest
from math import isnan
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MultipleLocator

from tests.ops.dashboard import dashboard
from tests.ops.prometheus import Prometheus

_COLUMNS = 3
_WINDOW = "20s"
_MOST_IN_LEGEND = 6
_INK, _GRID = "#010203", "#040506"
_STYLE = """<style>
  svg { --ink: #24292f; --grid: #d0d7de }
  @media (prefers-color-scheme: dark) { svg { --ink: #c9d1d9; --grid: #373e47 } }
</style>"""
_STYLES = {
    "svg.fonttype": "none",
    "svg.hashsalt": "forebay",
    "font.family": "sans-serif",
    "font.size": 8,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _GRID,
    "axes.titlesize": 9,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "grid.color": _GRID,
    "grid.linewidth": 0.5,
}
_SCALED = {"s": "s", "bytes": "B", "Bps": "B/s"}
_LABEL = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True)
class Line:
    """A series: its text in the legend, and points of seconds since the start and a value."""

    label: str
    points: list[tuple[float, float]]


@dataclass(frozen=True)
class Panel:
    """A panel with its data."""

    title: str
    unit: str
    lines: list[Line]


def rows() -> dict[str, list[dict[str, Any]]]:
    """The dashboard's panels by row, in the dashboard's order; a key is the title in kebab case."""
    found: dict[str, list[dict[str, Any]]] = {}
    for panel in dashboard()["panels"]:
        if panel["type"] == "row":
            current = found.setdefault(panel["title"].lower().replace(" ", "-"), [])
        else:
            current.append(panel)
    return found


def read(
    panel: dict[str, Any], prometheus: Prometheus, start_s: float, end_s: float, step_s: float
) -> Panel:
    """The panel with the results of its queries."""
    lines = [
        Line(_label(target["legendFormat"], series["metric"]), _points(series, start_s))
        for target in panel["targets"]
        for series in prometheus.query_range(
            target["expr"].replace("$__rate_interval", _WINDOW), start_s, end_s, step_s
        )
    ]
    return Panel(panel["title"], panel["fieldConfig"]["defaults"]["unit"], lines)


def draw(path: Path, panels: list[Panel]) -> None:
    """Writes the panels as one SVG."""
    height = -(-len(panels) // _COLUMNS)
    with rc_context(_STYLES):
        figure = Figure(figsize=(10.5, 2.9 * height), layout="constrained")
        axes = figure.subplots(height, _COLUMNS, squeeze=False).flat
        for each, panel in zip_longest(axes, panels):
            if panel is None:
                each.set_visible(False)
            else:
                _draw(each, panel)
        text = StringIO()
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue().replace(_INK, "var(--ink)").replace(_GRID, "var(--grid)")
    svg = re.sub(r"(<svg [^>]*>)", rf"\1\n{_STYLE}", svg, count=1, flags=re.DOTALL)
    path.write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")


def _draw(axes: Axes, panel: Panel) -> None:
    known = [line for line in panel.lines if not all(isnan(y) for _, y in line.points)]
    lines = sorted(known, key=lambda line: -max(y for _, y in line.points if not isnan(y)))
    for line in lines:
        axes.plot(*zip(*line.points, strict=True), linewidth=1, label=line.label)
    axes.set_title(panel.title, loc="left")
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.yaxis.set_major_formatter(_formatter(panel.unit))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 60:g} min"))
    axes.xaxis.set_major_locator(MultipleLocator(60))
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[:_MOST_IN_LEGEND],
        labels[:_MOST_IN_LEGEND],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.12),
        ncols=2,
        frameon=False,
        fontsize=7,
    )


def _formatter(unit: str) -> Any:
    if unit == "percentunit":
        return FuncFormatter(lambda y, _: f"{100 * y:g} %")
    if unit in _SCALED:
        return EngFormatter(unit=_SCALED[unit])
    return FuncFormatter(lambda y, _: f"{y:g} /s" if unit == "reqps" else f"{y:g}")


def _label(form: str, labels: dict[str, str]) -> str:
    """Puts the labels into the legend's text; a method's full name loses its package."""
    return _LABEL.sub(lambda name: labels.get(name[1], "").rpartition("v1.")[2], form)


def _points(series: dict[str, Any], start_s: float) -> list[tuple[float, float]]:
    return [(at - start_s, float(value)) for at, value in series["values"]]
