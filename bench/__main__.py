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
from bench.rounds import Chart, Figure

RESULTS = Path(__file__).parent / "results"


@click.command()
@click.argument("rows", nargs=-1, type=int, metavar="[ROW]...")
@click.option("--quick", is_flag=True, help="Two short rounds; writes nothing.")
@click.option("--name", metavar="NAME", help="The result's file, without .json [today's date].")
def main(rows: tuple[int, ...], quick: bool, name: str | None) -> None:
    """Measure Forebay against its rivals, all on this machine: these rows, or all."""
    signal.signal(signal.SIGTERM, _end)
    console = Console()
    found: list[Figure | Chart] = []
    with (
        console.status("starting everything") as status,
        closing(measures.run(rows, quick=quick)) as measured,
    ):
        for it in measured:
            found.append(it)
            status.update(f"measured: {it.title}")
    figures = [it for it in found if isinstance(it, Figure)]
    console.print(report.table(figures))
    if not quick:
        description = machine.describe()
        report.write(RESULTS, name or str(description["date"]), description, figures)


def _end(number: int, frame: object) -> NoReturn:
    """Leaves by the way that ends all that was started."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
