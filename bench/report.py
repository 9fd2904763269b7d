"""Reports a run's results; `python -m bench.report NAME` makes page and plots from NAME.json."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from bench import plots, record
from bench.record import Results
from bench.rounds import Absent, Figure, Ratio, Series
from bench.words import amount, goal, times

RESULTS = Path(__file__).parent / "results"
_COLUMNS = ("#", "figure", "Forebay", "against", "ratio (spread)", "goal", "met")


def table(figures: Sequence[Figure]) -> Table:
    """The figures as a table for the terminal."""
    shown = Table(*_COLUMNS, title="medians; spread: lowest to highest round", show_lines=True)
    for figure in figures:
        shown.add_row(*_cells(figure))
    return shown


def write(folder: Path, name: str) -> None:
    """Makes README.md and the plots from NAME.json."""
    results = record.load(folder / f"{name}.json")
    (folder / "README.md").write_text(markdown(name, results))
    plots.draw(folder, results)


def markdown(name: str, results: Results) -> str:
    """The text of README.md for the results in NAME.json."""
    rows = [_COLUMNS, ("---",) * len(_COLUMNS), *map(_cells, results.figures)]
    lines = [f"| {' | '.join(row)} |" for row in rows]
    machine = results.machine
    packages = ", ".join(f"{package} {it}" for package, it in machine["packages"].items())
    workers = ", ".join(f"{key} {value}" for key, value in results.workers.items())
    return f"""# What Forebay costs and gains

Written by `{results.command}`, which measures these figures again; every round is in `{name}.json`.

{chr(10).join(lines)}

Medians of rounds in which the contenders took turns. A ratio is made within each round; given
are their median and, in brackets, the lowest and the highest. All on one machine at once:
callers, gateway, workers ({workers}; Celery's the same) and one embedded server,
its append-only file on unless said otherwise. The rivals' tasks are the tutorial's own, on another
database of that server. The run took {results.seconds / 60:.0f} minutes.

{machine["date"]}; {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB;
{machine["kernel"]}; Python {machine["python"]}; {packages}.

![Goals](goals.svg)
"""


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = figure.ratio
    return (
        "" if figure.row is None else str(figure.row),
        f"{figure.title}: {figure.ours.name}",
        f"{amount(figure.ours.median)} {figure.unit}",
        _against(figure),
        _values(figure.ours.values) if ratio is None else _ratio(ratio),
        goal(figure),
        {None: "", True: "yes", False: "no"}[figure.met],
    )


def _against(figure: Figure) -> str:
    match figure.theirs:
        case Series() as theirs:
            return f"{amount(theirs.median)} {figure.unit}, {theirs.name}"
        case Absent(name, reason):
            return f"{name}: {reason}".replace("|", "\\|")
        case None:
            return ""


def _ratio(ratio: Ratio) -> str:
    return f"{times(ratio.median)} ({times(ratio.lowest)} to {times(ratio.highest)})"


def _values(values: Sequence[float]) -> str:
    return f"({amount(min(values))} to {amount(max(values))})"


if __name__ == "__main__":
    write(RESULTS, sys.argv[1])
