"""The file, the page and the plots of a run's results."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import plots, record, report
from bench.record import Results
from bench.rounds import Absent, Chart, Figure, Goal, Line, Series
from bench.words import times

ECHO = Figure(
    "add_rate_echo",
    "Add, saturated",
    "calls/s",
    Series("ephemeral, 64 in flight", (900.0, 1100.0, 1000.0)),
    Series("an echo", (1000.0, 1000.0, 2000.0)),
    Goal(0.7, at_most=False),
    row=3,
)
RAY = Figure(
    "add_rate_ray",
    "Add, saturated",
    "calls/s",
    ECHO.ours,
    Absent("Ray Serve", "not installed: no wheel"),
    Goal(8, at_most=False),
    row=2,
)
MEMORY = Figure("rss", "Memory", "MB", Series("peak", (80.0, 81.0)), goal=Goal(256), row=8)
WAITING = Figure(
    "waiting",
    "A call that waits",
    "kB",
    Series("in a gateway", (19.0,)),
    Series("in a bare server", (22.0,)),
    Goal(20, absolute=True),
    row=10,
)
COST = Figure("cpu", "The load", "µs", Series("a call", (12.0,)))
TIMES = Chart(
    "times",
    "How long",
    "share",
    "ms",
    (Line("ephemeral", ((0.5, Series("", (1.0, 2.0))), (0.99, Series("", (3.0, 4.0))))),),
    log_y=True,
    x_is_share=True,
)
MACHINE = {
    "date": "2026-01-01",
    "cpu": "a processor",
    "cores": 2,
    "memory_gib": 8,
    "kernel": "Linux",
    "python": "3.11",
    "packages": {"forebay": "1"},
}


def measured() -> Results:
    return record.results(
        (ECHO, TIMES, COST, RAY, MEMORY, WAITING),
        command="make bench",
        machine=MACHINE,
        workers={"pool": "prefork"},
        seconds=61.7,
    )


def test_figures_are_ordered_by_row_and_those_without_one_come_last() -> None:
    assert [figure.row for figure in measured().figures] == [2, 3, 8, 10, None]


def test_results_are_the_same_after_a_file(tmp_path: Path) -> None:
    record.save(tmp_path / "it.json", measured())
    assert record.load(tmp_path / "it.json") == measured()


def test_the_page_has_ratios_goals_and_why_a_rival_is_absent() -> None:
    page = report.markdown("it", measured())
    assert "1,000 calls/s, an echo | 0.9× (0.5× to 1.1×) | ≥ 0.7× | yes |" in page
    assert "| Ray Serve: not installed: no wheel | (900 to 1,100) | ≥ 8× |  |" in page
    assert "22 kB, in a bare server | 0.864× (0.864× to 0.864×) | ≤ 20 kB | yes |" in page
    assert "| 8 | Memory: peak | 80.5 MB |  | (80 to 81) | ≤ 256 MB | yes |" in page


@pytest.mark.parametrize(
    ("ratio", "words"), [(0.25, "0.25×"), (1 / 12, "1/12×"), (8.126, "8.13×"), (1234.5, "1,234×")]
)
def test_a_small_ratio_is_shown_as_a_fraction(ratio: float, words: str) -> None:
    assert times(ratio) == words


@pytest.mark.parametrize(
    ("goal", "value", "better"),
    [(Goal(2.0), 1.0, 2.0), (Goal(8, at_most=False), 4.0, 0.5)],
)
def test_a_distance_above_one_is_better_than_the_goal(
    goal: Goal, value: float, better: float
) -> None:
    assert plots.distance(Figure("key", "title", "s", ECHO.ours, goal=goal), value) == better


def test_each_contender_is_one_bar_the_best_first() -> None:
    assert [bar.name for bar in plots.bars_of([RAY, ECHO])] == [ECHO.ours.name, "an echo"]


def test_the_same_results_give_the_same_plots(tmp_path: Path) -> None:
    drawn = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        plots.draw(folder, measured())
        drawn.append({path.name: path.read_bytes() for path in folder.iterdir()})
    names = ("goals", "add_rates", "times")
    assert drawn[0].keys() == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert drawn[0] == drawn[1]
