"""Tables on terminals of any width: nothing is lost, and the first column is never cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from forebay.cli.tables import printable, table_lines

HEADER = ("id", "method", "state", "items", "note")
IDS = ("01932f6e-7c1a-7abc-8def-0123456789ab", "report-7")
ERROR = "INTERNAL/HANDLER_FAILED: the handler raised an exception"
ROWS = [(IDS[0], "Factorial", "FAILED", "2", ERROR), (IDS[1], "Add", "QUEUED", "0", "")]


def lines(width: int, rows: list[tuple[str, ...]] = ROWS) -> list[str]:
    return [text.plain for text in table_lines(HEADER, rows, width)]


def test_a_wide_terminal_has_a_line_for_each_row() -> None:
    assert lines(200) == [
        f"id{' ' * 36}method     state   items  note",
        f"{IDS[0]}  Factorial  FAILED  2      {ERROR}",
        f"{IDS[1]}{' ' * 30}Add        QUEUED  0",
    ]


def test_the_last_column_folds_where_there_is_room_for_a_part_of_it() -> None:
    indent = " " * 64
    assert lines(95)[1:4] == [
        f"{IDS[0]}  Factorial  FAILED  2      INTERNAL/HANDLER_FAILED: the",
        f"{indent}handler raised an exception",
        f"{IDS[1]}{' ' * 30}Add        QUEUED  0",
    ]


def test_what_does_not_fit_is_folded_below_its_row() -> None:
    assert lines(58) == [
        f"id{' ' * 36}method     state",
        f"{IDS[0]}  Factorial  FAILED",
        "    items: 2",
        "    note: INTERNAL/HANDLER_FAILED: the handler raised an",
        "    exception",
        f"{IDS[1]}{' ' * 30}Add        QUEUED",
        "    items: 0",
    ]


def test_an_id_wider_than_the_terminal_stays_whole() -> None:
    assert lines(20)[1] == IDS[0]


words = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30)
cells = st.lists(words, max_size=8).map(" ".join)


@given(
    rows=st.lists(st.tuples(words, cells, cells, cells, cells), max_size=4),
    width=st.integers(1, 250),
)
def test_at_any_width_no_text_is_lost_and_no_line_but_the_first_column_is_too_wide(
    rows: list[tuple[str, ...]], width: int
) -> None:
    found = lines(width, rows)
    letters = "".join(found).replace(" ", "")
    for row in rows:
        assert row[0] in "\n".join(found)
        assert all(cell.replace(" ", "") in letters for cell in row)
    widest = max(map(cell_len, [HEADER[0], *(row[0] for row in rows)]))
    indented = 4 + 2  # and a character that is two cells wide
    assert all(cell_len(line) <= max(width, widest, indented) for line in found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("a b é 例", "a b é 例"), ("a\nb\tc", r"a\nb\tc"), ("\x1b[31mred", r"\x1b[31mred")],
)
def test_a_cell_is_one_line_without_escape_sequences(text: str, shown: str) -> None:
    assert printable(text) == shown
