"""Tables on a terminal; tab-separated lines if the output is a file or a pipe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

Row = Sequence[str]


def show(console: Console, header: Row, rows: Iterable[Row]) -> None:
    if console.is_terminal:
        console.print(table(header, rows))
        return
    for row in (header, *rows):
        console.file.write(line(row))


def table(header: Row, rows: Iterable[Row]) -> Table:
    shown = Table(*header, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        shown.add_row(*row)
    return shown


def line(row: Row) -> str:
    return "\t".join(row) + "\n"
