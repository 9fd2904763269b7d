"""Prints tables: aligned on a terminal, tab-separated to a file or pipe, or as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.cells import cell_len, chop_cells
from rich.console import Console, Group
from rich.text import Text

Row = Sequence[str]

GAP = 2
_INDENT = 4
_MIN_LAST_WIDTH = 24
"""The last column is narrowed, and its text folded, to no less than this width."""


def show(console: Console, header: Row, rows: Iterable[Row]) -> None:
    if console.is_terminal:
        # `soft_wrap`: a first cell wider than the terminal can still be copied as one word.
        for text in table_lines(header, rows, console.width):
            console.print(text, soft_wrap=True)
        return
    show_lines([header, *rows])


def table(header: Row, rows: Iterable[Row], width: int) -> Group:
    """The table as one object, for a live display."""
    lines = list(table_lines(header, rows, width))
    for text in lines:
        text.overflow = "fold"
    return Group(*lines)


def table_lines(header: Row, rows: Iterable[Row], width: int) -> Iterator[Text]:
    """The table for a terminal of this width. The first column is never cut or folded.

    Columns that don't fit are folded into lines below their row, as `name: value`.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = _widths(header, cells, width)
    yield Text(_joined(header, widths), "bold")
    for row in cells:
        *inline, last = row[: len(widths)]
        first, *more = _folded(last, widths[-1]) if len(widths) > 1 else [last]
        yield Text(_joined([*inline, first], widths))
        yield from (Text(" " * (sum(widths[:-1]) + GAP * len(inline)) + text) for text in more)
        below = zip(header[len(widths) :], row[len(widths) :], strict=True)
        for text in _filled([f"{name}: {cell}" for name, cell in below if cell], width - _INDENT):
            yield Text(" " * _INDENT + text, "dim")


def show_lines(rows: Iterable[Row]) -> None:
    """Prints each row as tab-separated columns."""
    for row in rows:
        click.echo("\t".join(map(printable, row)))


def show_json(objects: Iterable[Mapping[str, Any]]) -> None:
    """Prints each object as a line of JSON."""
    for one in objects:
        click.echo(json.dumps(one, ensure_ascii=False))


def printable(text: str) -> str:
    """The text on one line: line breaks, tabs and escape sequences are spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _widths(header: Row, rows: Sequence[Row], width: int) -> list[int]:
    """The widths of the columns that fit on one line, from the left."""
    needed = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
    widths, left = [needed[0]], width - needed[0]
    for number, wanted in enumerate(needed[1:], start=1):
        least = wanted if number < len(needed) - 1 else min(wanted, _MIN_LAST_WIDTH)
        if least + GAP > left:
            break
        widths.append(min(wanted, left - GAP))
        left -= widths[-1] + GAP
    return widths


def _joined(cells: Row, widths: Sequence[int]) -> str:
    padded = (
        cell + " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=False)
    )
    return (" " * GAP).join(padded).rstrip()


def _folded(text: str, width: int) -> list[str]:
    return _filled(text.split(" "), width, gap=1) or [""]


def _filled(texts: Iterable[str], width: int, gap: int = GAP) -> list[str]:
    """Packs the texts into lines. A text wider than a line is broken, at spaces if it has any."""
    width = max(width, 1)
    lines: list[str] = []
    for text in texts:
        if cell_len(text) > width:
            lines += _folded(text, width) if " " in text else chop_cells(text, width)
        elif lines and cell_len(lines[-1]) + gap + cell_len(text) <= width:
            lines[-1] += " " * gap + text
        else:
            lines.append(text)
    return lines
