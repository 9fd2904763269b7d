"""What `forebay top` shows (tables, order, filter), and how keys change it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from forebay.cli.top.tables import COLUMNS, Table

ALL = "all"
NAMES = (*COLUMNS, ALL)
HELP = (
    "1 2 3 4    queues, workers, methods, calls",
    "0          all four; Tab goes to the next",
    "s S        order by the next, the previous column",
    "r          reverse the order",
    "n l        calls: the newest first, those accepted longest ago first",
    "/          show only rows with this text; Enter to keep it, Esc to clear it",
    "↑ ↓ PgUp PgDn Home End   scroll",
    "p          pause, and go on",
    "q          quit",
)
_MOST_TYPED = 200


@dataclass(frozen=True)
class Order:
    """The index of the column to sort by, and the direction."""

    column: int
    descending: bool = False


_ORDERS: Mapping[str, Order] = {
    "queues": Order(0),
    "workers": Order(0),
    "methods": Order(COLUMNS["methods"].index("calls/s"), descending=True),
    "calls": Order(COLUMNS["calls"].index("age")),
}


@dataclass(frozen=True)
class View:
    """The state of the screen. `name` is the shown table, or ALL.

    `typing` is the unfinished filter text while the user types it; otherwise None.
    """

    name: str = ALL
    orders: Mapping[str, Order] = field(default_factory=lambda: dict(_ORDERS))
    filter: str = ""
    typing: str | None = None
    scroll: int = 0
    is_paused: bool = False
    shows_help: bool = False
    has_quit: bool = False

    def of(self, tables: Sequence[Table]) -> list[Table]:
        """The chosen tables with the chosen rows, in the chosen order."""
        text = self.filter if self.typing is None else self.typing
        return [
            table.filtered(text).ordered(order.column, descending=order.descending)
            for table in tables
            if self.name in (ALL, table.name)
            for order in [self.orders[table.name]]
        ]

    @property
    def ordered_table(self) -> str:
        """The table that the sort keys apply to: the shown one or, if all are shown, the calls."""
        return "calls" if self.name == ALL else self.name


def ordered_by(view: View, text: str) -> View:
    """The view with each shown table sorted by the column, if it has that; -COLUMN: descending.

    Raises ValueError if no shown table has the column.
    """
    name = text.removeprefix("-")
    shown = {one: columns for one, columns in COLUMNS.items() if view.name in (ALL, one)}
    orders = {
        table: Order(columns.index(name), descending=text.startswith("-"))
        for table, columns in shown.items()
        if name in columns
    }
    if not orders:
        known = sorted({column for columns in shown.values() for column in columns})
        raise ValueError(f"{name!r} is not a column; the columns are {', '.join(known)}")
    return replace(view, orders={**view.orders, **orders})


def pressed(view: View, key: str, page: int) -> View:
    """The view after a key; `page` is the number of rows on the screen."""
    if view.typing is not None:
        return _typed(view, key)
    if view.shows_help:
        return replace(view, shows_help=False, has_quit=key in ("q", "Q"))
    if key in ("0", "1", "2", "3", "4"):
        return replace(view, name=NAMES[int(key) - 1], scroll=0)
    match key:
        case "q" | "Q":
            return replace(view, has_quit=True)
        case "tab":
            return replace(view, name=NAMES[(NAMES.index(view.name) + 1) % len(NAMES)], scroll=0)
        case "/":
            return replace(view, typing=view.filter)
        case "esc":
            return replace(view, filter="", scroll=0)
        case "?" | "h":
            return replace(view, shows_help=True)
        case "p" | " ":
            return replace(view, is_paused=not view.is_paused)
        case "s" | "S" | "r":
            return _reordered(view, key)
        case "n" | "l":
            order = Order(COLUMNS["calls"].index("age"), descending=key == "l")
            return replace(view, orders={**view.orders, "calls": order}, scroll=0)
    return replace(view, scroll=_scrolled(view.scroll, key, page))


def _typed(view: View, key: str) -> View:
    typing = view.typing or ""
    if key == "enter":
        return replace(view, filter=typing, typing=None, scroll=0)
    if key == "esc":
        return replace(view, filter="", typing=None, scroll=0)
    if key == "backspace":
        return replace(view, typing=typing[:-1])
    if len(key) == 1 and len(typing) < _MOST_TYPED:
        return replace(view, typing=typing + key, scroll=0)
    return view


def _reordered(view: View, key: str) -> View:
    table = view.ordered_table
    order, count = view.orders[table], len(COLUMNS[table])
    if key == "r":
        order = Order(order.column, descending=not order.descending)
    else:
        order = Order((order.column + (1 if key == "s" else -1)) % count)
    return replace(view, orders={**view.orders, table: order}, scroll=0)


def _scrolled(scroll: int, key: str, page: int) -> int:
    steps = {"up": -1, "k": -1, "down": 1, "j": 1, "pageup": -page, "pagedown": page}
    if key in ("home", "g"):
        return 0
    if key in ("end", "G"):
        return 1 << 30  # the screen takes the last page
    return max(0, scroll + steps.get(key, 0))
