"""`python -m bench`: measure, show a table, write `bench/results/`."""

from __future__ import annotations

import signal
import sys
import time
from contextlib import closing
from typing import NoReturn

import click
from rich.console import Console

from bench import machine, measures, record, report, systems
from bench.rounds import Chart, Figure


@click.command()
@click.argument("rows", nargs=-1, type=int, metavar="[ROW]...")
@click.option("--quick", is_flag=True, help="Few short rounds; writes nothing.")
@click.option("--name", metavar="NAME", help="The result's file, without .json [today's date].")
def main(rows: tuple[int, ...], quick: bool, name: str | None) -> None:
    """Measure Forebay against its rivals, all on this machine: these rows, or all.

    Some rows alone are written only to a file that is named. The table and the pictures stay those
    of all rows.
    """
    signal.signal(signal.SIGTERM, _end)
    console = Console()
    begun = time.monotonic()
    found: list[Figure | Chart] = []
    with (
        console.status("starting everything") as status,
        closing(measures.run(rows, quick=quick)) as measured,
    ):
        for it in measured:
            found.append(it)
            status.update(f"measured: {it.title}")
    description = machine.describe()
    results = record.results(
        found,
        command=_command(rows),
        machine=description,
        workers=systems.WORKERS,
        seconds=time.monotonic() - begun,
    )
    console.print(report.table(results.figures))
    if name or not (quick or rows):
        name = name or str(description["date"])
        record.save(report.RESULTS / f"{name}.json", results)
        if not rows:
            report.write(report.RESULTS, name)


def _command(rows: tuple[int, ...]) -> str:
    """The command that measures these figures again."""
    return " ".join(("python -m bench", *map(str, rows))) if rows else "make bench"


def _end(number: int, frame: object) -> NoReturn:
    """Exits by an exception, so that everything that was started is ended."""
    sys.exit(128 + number)


if __name__ == "__main__":
    main()
