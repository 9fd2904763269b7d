"""Draws a run's results as PNG and SVG; the same results give the same bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from bench.record import Results
from bench.rounds import Chart, Figure, Line, Series
from bench.words import amount, goal, times

# Okabe and Ito's colours, which people with any kind of colour vision can tell apart; the grey and
# the dark yellow at the end are added.
_MET, _MISSED, _GREY = "#0072B2", "#D55E00", "#666666"
_COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#999999",
    "#7F6A00",
)
_MARKERS = "os^DvPX*<"
_STYLE: Any = {
    "svg.hashsalt": "forebay",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
_LABEL_WIDTH = 62


def draw(folder: Path, results: Results) -> None:
    """Draws the goals, the calls a second, and each chart (named by its key), if there are any."""
    with_goal = [figure for figure in results.figures if figure.met is not None]
    rates = [figure for figure in results.figures if figure.key.startswith("add_rate_")]
    if with_goal:
        _save(
            folder / "goals", (9, 1.4 + 0.42 * len(with_goal)), lambda axes: _goals(axes, with_goal)
        )
    if rates:
        bars = bars_of(rates)
        _save(folder / "add_rates", (9, 1.2 + 0.42 * len(bars)), lambda axes: _bars(axes, bars))
    for chart in results.charts:
        _save(folder / chart.key, (9, 5), partial(_chart, chart=chart))


def distance(figure: Figure, value: float) -> float:
    """The factor by which a value is better than its goal; below 1 it misses the goal."""
    assert figure.goal is not None
    return figure.goal.bound / value if figure.goal.at_most else value / figure.goal.bound


def bars_of(figures: Sequence[Figure]) -> list[Series]:
    """Each contender once, with the value of its first figure; the best first."""
    by_name = {
        series.name: series
        for figure in reversed(figures)
        for series in (figure.ours, figure.theirs)
        if isinstance(series, Series)
    }
    return sorted(by_name.values(), key=lambda series: -series.median)


def _save(path: Path, inches: tuple[float, float], paint: Callable[[Axes], None]) -> None:
    with matplotlib.rc_context(_STYLE):
        canvas: Canvas
        canvas, axes = plt.subplots(figsize=inches)
        paint(axes)
        canvas.savefig(path.with_suffix(".png"), dpi=150, metadata={"Software": None})
        canvas.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        plt.close(canvas)


def _goals(axes: Axes, figures: Sequence[Figure]) -> None:
    """One row for each figure; its place on the x axis is the factor by which it beats its goal."""
    for at, figure in enumerate(figures):
        _goal(axes, at, figure)
    axes.axvline(1, color=_GREY, linewidth=1, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}×"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_yticks(range(len(figures)), [_label(figure) for figure in figures], fontsize=9)
    axes.invert_yaxis()
    axes.grid(axis="x", color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("times better than the goal (dashed); line: lowest to highest round")
    axes.set_title("What was to be reached, and what was")


def _goal(axes: Axes, at: int, figure: Figure) -> None:
    """A dot for the median, a line over the spread, and median and goal as text beside them."""
    is_absolute = figure.goal is not None and figure.goal.absolute
    ratio = None if is_absolute else figure.ratio
    measured = figure.ours if ratio is None else ratio
    median = measured.median
    values = [distance(figure, value) for value in measured.values]
    colour, marker = (_MET, "o") if figure.met else (_MISSED, "D")
    axes.plot([min(values), max(values)], [at, at], color=colour, linewidth=2, alpha=0.5)
    axes.plot(distance(figure, median), at, marker, color=colour, markersize=7)
    said = times(median) if ratio else f"{amount(median)} {figure.unit}"
    axes.annotate(
        f"{said} ({goal(figure)})",
        (1.01, at),
        xycoords=("axes fraction", "data"),
        va="center",
        fontsize=9,
        color=colour,
        annotation_clip=False,
    )


def _label(figure: Figure) -> str:
    against = f", against {figure.theirs.name}" if isinstance(figure.theirs, Series) else ""
    number = "" if figure.row is None else f"{figure.row}  "
    return textwrap.fill(f"{number}{figure.title}: {figure.ours.name}{against}", _LABEL_WIDTH)


def _bars(axes: Axes, bars: Sequence[Series]) -> None:
    for at, series in enumerate(bars):
        ours = series.name.startswith(("ephemeral", "durable"))
        spread = [[series.median - min(series.values)], [max(series.values) - series.median]]
        axes.barh(
            at,
            series.median,
            xerr=spread,
            color=_MET if ours else "#bbbbbb",
            height=0.7,
            error_kw={"ecolor": "#333333", "elinewidth": 1, "capsize": 2},
        )
        axes.annotate(
            amount(series.median),
            (max(series.values), at),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
        )
    names = [textwrap.fill(f"{_owner(series)}{series.name}", 44) for series in bars]
    axes.set_yticks(range(len(bars)), names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set_xlabel("calls a second; line: lowest to highest round")
    axes.set_title("Add, saturated")


def _owner(series: Series) -> str:
    return "Forebay, " if series.name.startswith(("ephemeral", "durable")) else ""


def _chart(axes: Axes, chart: Chart) -> None:
    colours = iter(zip(_COLOURS, _MARKERS, strict=True))
    for line in chart.lines:
        if line.ideal:
            xs, ys = _medians(line)
            axes.plot(xs, ys, color=_GREY, linestyle="--", linewidth=1.2, label=line.name)
        else:
            _line(axes, line, *next(colours))
    xs = sorted({x for line in chart.lines for x, _ in line.points})
    if chart.x_is_share:
        _scale_of_shares(axes, xs)
    else:
        axes.set_xscale("log" if chart.log_x else "linear")
        axes.xaxis.set_major_locator(FixedLocator(xs))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    if chart.log_y:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
    else:
        axes.set_ylim(bottom=0)
    axes.grid(color="#dddddd", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(chart.x)
    axes.set_ylabel(chart.y)
    axes.set_title(chart.title)
    axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _line(axes: Axes, line: Line, colour: str, marker: str) -> None:
    """A line through the medians, within a band from the lowest to the highest round."""
    xs, ys = _medians(line)
    label = textwrap.fill(line.name, 28)
    axes.plot(xs, ys, color=colour, marker=marker, markersize=5, label=label)
    lowest = [min(series.values) for _, series in line.points]
    highest = [max(series.values) for _, series in line.points]
    axes.fill_between(xs, lowest, highest, color=colour, alpha=0.15, linewidth=0)


def _medians(line: Line) -> tuple[list[float], list[float]]:
    return [x for x, _ in line.points], [series.median for _, series in line.points]


def _scale_of_shares(axes: Axes, shares: Sequence[float]) -> None:
    axes.set_xscale("logit")
    axes.xaxis.set_major_locator(FixedLocator(list(shares)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share * 100:g}%"))
