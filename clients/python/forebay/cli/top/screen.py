"""Draws tables on a screen of any size. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from forebay.cli.tables import GAP
from forebay.cli.top.snapshot import Snapshot
from forebay.cli.top.tables import Table, summary_of, tables_of
from forebay.cli.top.view import ALL, HELP, View

_LEAST_CUT = 6
"""A column that is cut to fewer characters is left out."""
_FRAME = 4
"""The lines outside the tables: two of figures, an empty one, and the last with keys."""
_KEYS = "q quit  0-4 table  s order  r reverse  / filter  ? help"


def page_of(height: int) -> int:
    """How many rows of a single table the screen has."""
    return max(1, height - _FRAME - 1)


def screen_of(
    snapshot: Snapshot, view: View, problem: str | None, width: int, height: int
) -> list[Text]:
    """The lines of the screen, at most `height`; `problem`: why the gateway does not answer."""
    if view.shows_help:
        lines = [
            Text("forebay top", "bold"),
            Text(),
            *map(Text, HELP),
            Text(),
            Text("any key: back"),
        ]
    else:
        tables = view.of(tables_of(snapshot, short=True))
        lines = [_head(snapshot, view, problem), _summary(snapshot, width), Text()]
        lines += _body(tables, view, width, max(0, height - _FRAME))
        lines = lines[: height - 1]
        lines += [Text()] * (height - 1 - len(lines))
        lines.append(_foot(view))
    for line in lines:
        line.truncate(width)
    return lines[:height]


def shares(wanted: Sequence[int], available: int) -> list[int]:
    """Shares lines out: none gets more than it wants, and what some don't need goes to others."""
    given = [0] * len(wanted)
    by_size = sorted(range(len(wanted)), key=lambda number: wanted[number])
    for place, number in enumerate(by_size):
        fair = max(0, available) // (len(by_size) - place)
        given[number] = min(wanted[number], fair)
        available -= given[number]
    return given


def _head(snapshot: Snapshot, view: View, problem: str | None) -> Text:
    if problem is not None:
        return Text(f"{problem}: figures of {snapshot.taken_at:%H:%M:%S}; trying again", "bold red")
    paused = "  paused" if view.is_paused else ""
    head = Text(f"forebay top  {snapshot.target}  {snapshot.taken_at:%H:%M:%S}", "bold")
    return head.append(paused, "bold yellow")


def _summary(snapshot: Snapshot, width: int) -> Text:
    line = Text()
    for name, figure in summary_of(snapshot):
        if len(line) + len(name) + len(figure) + 1 > width:
            break
        line.append(f"{name} ", "dim").append(figure, "bold").append("  ")
    return line


def _foot(view: View) -> Text:
    if view.typing is not None:
        return Text(f"filter: {view.typing}█  (Enter, Esc)")
    line = Text()
    if view.filter:
        line.append(f"filter: {view.filter}  ", "bold yellow")
    return line.append(_KEYS, "dim")


def _body(tables: Sequence[Table], view: View, width: int, available: int) -> Iterator[Text]:
    if view.name != ALL:
        [table] = tables
        page = max(0, available - 1)
        first = max(0, min(view.scroll, len(table.rows) - page))
        yield from _drawn(table, view, width, first, page)
        return
    # Each has a header and, but for the last, an empty line below.
    rows = shares([max(1, len(table.rows)) for table in tables], available - 2 * len(tables) + 1)
    for table, count in zip(tables, rows, strict=True):
        yield from _drawn(table, view, width, 0, count)
        yield Text()


def _drawn(table: Table, view: View, width: int, first: int, count: int) -> Iterator[Text]:
    """The header and `count` rows; the last one tells how many more there are."""
    order = view.orders[table.name]
    marks = {order.column: "▼" if order.descending else "▲"}
    header = [name + marks.get(number, "") for number, name in enumerate(table.columns)]
    rows = table.texts[first : first + count]
    widths = _widths([header, *rows], width)
    yield Text(set_cell_size(_joined(header, widths), width), "reverse")
    more = len(table.rows) - first - count
    for number, row in enumerate(rows, start=1):
        if more > 0 and number == count:
            yield Text(f"… {more + 1} more", "dim")
        else:
            yield Text(_joined(row, widths))
    if not table.rows:
        yield Text(f"no {table.name}" + (" with this text" if view.filter else ""), "dim")


def _widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The widths of the columns that fit, from the left; the last of them may be cut."""
    widths: list[int] = []
    left = width
    for column in zip(*rows, strict=True):
        needed = max(map(cell_len, column))
        if needed > left and left < _LEAST_CUT and widths:
            break
        widths.append(min(needed, left))
        left -= widths[-1] + GAP
        if left <= 0:
            break
    return widths


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return (
        (" " * GAP)
        .join(_cut(cell, width) for cell, width in zip(cells, widths, strict=False))
        .rstrip()
    )


def _cut(text: str, width: int) -> str:
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…" if width > 1 else "…"[:width]
