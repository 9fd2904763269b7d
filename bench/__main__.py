"""`python -m bench`: measure, show a table, write `bench/results/`."""

from __future__ import annotations

import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console

from bench import machine, measures, report
from bench.rounds import Figure

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.option("--quick", is_flag=True, help="Two short rounds; writes nothing.")
@click.option("--name", metavar="NAME", help="The result's file, without .json [today's date].")
def main(quick: bool, name: str | None) -> None:
    """Measure Forebay against its rivals, all on this machine."""
    signal.signal(signal.SIGTERM, _end)
    plan = measures.QUICK if quick else measures.FULL
    console = Console()
    figures: list[Figure] = []
    with (
        console.status("starting everything") as status,
        closing(measures.measure(plan)) as measured,
    ):
        for figure in measured:
            figures.append(figure)
            status.update(f"measured: {figure.title}")
    console.print(report.table(figures))
    if not quick:
        description = machine.describe()
        report.write(RESULTS, name or str(description["date"]), description, plan, figures)


def _end(number: int, frame: object) -> NoReturn:
    """Leaves by the way that ends all that was started."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
