"""`forebay top` without a terminal: tables, keys, and screens of any size."""

from __future__ import annotations

from datetime import datetime

import pytest
from google.longrunning.operations_pb2 import Operation
from rich.cells import cell_len

from forebay.cli.call_names import OWN
from forebay.cli.top.screen import screen_of, shares
from forebay.cli.top.snapshot import WINDOW_S, Snapshot, SnapshotReader
from forebay.cli.top.tables import COLUMNS, json_of, summary_of, tables_of
from forebay.cli.top.terminal import keys_of
from forebay.cli.top.view import View, ordered_by, pressed
from forebay.v1 import call_pb2
from forebay.v1 import calls_pb2 as pb

NOW_MS = 1_800_000_000_000
ADD = "some.package.Service.Add"


def queue(name: str, depth: int = 0, oldest_ms: int | None = None) -> pb.Queue:
    found = pb.Queue(name=name, depth=depth, methods=[ADD], slots=4, busy_slots=3)
    if oldest_ms is not None:
        found.oldest_wait.FromMilliseconds(oldest_ms)
    return found


def worker(name: str, *methods: str) -> pb.Worker:
    found = pb.Worker(name=name, queues=["q"], slots=4, busy_slots=len(methods), pool="prefork")
    found.seen_time.FromMilliseconds(NOW_MS - 2000)
    for method in methods:
        found.running.add(task="t", method=method).begin_time.FromMilliseconds(NOW_MS - 9000)
    return found


def call(
    call_id: str, age_s: int, state: call_pb2.CallState = call_pb2.CALL_STATE_RUNNING
) -> Operation:
    metadata = pb.CallMetadata(
        method=ADD, state=state, queue="q", worker="celery@host.0-1-2", attempt=2
    )
    metadata.create_time.FromMilliseconds(NOW_MS - age_s * 1000)
    metadata.begin_time.FromMilliseconds(NOW_MS - 1000)
    metadata.read_time.FromMilliseconds(NOW_MS)
    operation = Operation(name=f"operations/{call_id}")
    operation.metadata.Pack(metadata)
    return operation


def snapshot(calls: int = 2) -> Snapshot:
    activity = pb.ActivityInterval()
    one = activity.methods.add(method=ADD, ended=30, failed=15)
    one.p50.FromMilliseconds(4)
    one.p99.FromMilliseconds(2500)
    activity.total.CopyFrom(one)
    return Snapshot(
        "127.0.0.1:50051",
        datetime(2026, 11, 28, 12, 0, 0),
        [queue("b", 7, 1500), queue("a"), queue("c", 2, 0)],
        [worker("celery@one", ADD, ADD), worker("celery@two")],
        NOW_MS / 1000,
        activity,
        [call(f"id-{number}", number + 1) for number in range(calls)],
    )


def texts(view: View, name: str) -> list[str]:
    """The first cells of a table."""
    [table] = [one for one in view.of(tables_of(snapshot(), short=True)) if one.name == name]
    return [row[0].text for row in table.rows]


def typed(view: View, *keys: str) -> View:
    for key in keys:
        view = pressed(view, key, 10)
    return view


def test_rows_have_the_figures_of_the_gateway() -> None:
    queues, workers, methods, calls = (one.texts for one in tables_of(snapshot(), short=True))
    assert queues[0] == ("b", "7", "0", "1.5s", "-", "3/4", "0", "0.0")
    assert workers[0] == ("celery@one", "2/4", "prefork", "-", "2.0s", "q", "Add×2")
    assert methods == [("Service.Add", "2.0", "1.0", "4.0ms", "2.5s")]
    assert calls[1] == ("id-1", "Add", "RUNNING", "2.0s", "1.0s", "2", "q", "celery@host")
    assert ("slots", "2/8") in summary_of(snapshot())
    rows = list(json_of(snapshot(), ["workers", "methods"]))
    assert [row["table"] for row in rows] == ["workers", "workers", "methods"]
    assert rows[0]["running"][0] == {"task": "t", "method": ADD, "run_s": 9.0, "calls": []}
    assert rows[2]["calls_per_s"] == 30 / WINDOW_S


def test_every_row_fits_its_columns() -> None:
    for table in tables_of(snapshot(), short=False):
        assert tuple(table.columns) == COLUMNS[table.name]
        assert all(len(row) == len(table.columns) for row in table.rows)


def test_rows_are_ordered_and_unknown_figures_come_last() -> None:
    assert texts(View(), "queues") == ["a", "b", "c"]
    assert texts(ordered_by(View(), "oldest"), "queues") == ["c", "b", "a"]
    assert texts(ordered_by(View(), "-oldest"), "queues") == ["b", "c", "a"]
    with pytest.raises(ValueError, match="not a column"):
        ordered_by(View("queues"), "p99")


def test_keys_order_the_table_that_is_shown() -> None:
    view = typed(View(), "1")
    assert texts(typed(view, "s"), "queues") == ["a", "c", "b"]  # by depth
    assert texts(typed(view, "s", "r"), "queues") == ["b", "c", "a"]
    assert texts(typed(view, "s", "S"), "queues") == ["a", "b", "c"]
    assert texts(typed(View(), "l"), "calls") == ["id-1", "id-0"]
    assert texts(typed(View(), "l", "n"), "calls") == ["id-0", "id-1"]


def test_a_filter_is_applied_while_it_is_typed() -> None:
    view = typed(View(), "/", "t", "W", "x", "backspace", "O")
    assert texts(view, "workers") == ["celery@two"]
    assert typed(view, "q").has_quit is False  # a letter
    assert typed(view, "enter").filter == "tWO"
    assert typed(view, "enter", "esc").filter == ""
    assert typed(view, "esc") == View()


def test_keys_choose_tables_pause_help_and_quit() -> None:
    assert [typed(View(), *["tab"] * times).name for times in range(6)] == [
        *("all", "queues", "workers", "methods", "calls", "all")
    ]
    assert typed(View(), "4").name == "calls"
    assert typed(View(), "4", "0").name == "all"
    assert typed(View(), "p").is_paused
    assert not typed(View(), "p", "p").is_paused
    assert typed(View(), "?").shows_help
    assert not typed(View(), "?", "x").shows_help
    assert typed(View(), "q").has_quit


def test_a_long_table_scrolls_to_its_ends() -> None:
    def rows(*keys: str) -> list[str]:
        view = typed(View("calls"), *keys)
        return [line.plain.split()[0] for line in screen_of(snapshot(30), view, None, 80, 10)[4:9]]

    assert rows()[0] == "id-0"
    assert rows("down", "j")[0] == "id-2"
    assert rows("down", "up")[0] == "id-0"
    assert rows("pagedown")[0] == "id-10"
    assert "id-29" in rows("end")
    assert rows("end", "home")[0] == "id-0"


@pytest.mark.parametrize(
    "view", [View(), View("calls"), View("queues", typing="x"), View(shows_help=True)]
)
def test_a_screen_of_any_size_is_filled_and_not_exceeded(view: View) -> None:
    for width in (1, 2, 10, 39, 80, 200):
        for height in (1, 2, 5, 12, 24, 60):
            for problem in (None, "no gateway answers"):
                lines = screen_of(snapshot(), view, problem, width, height)
                assert len(lines) <= height
                assert view.shows_help or len(lines) == height
                assert all(cell_len(line.plain) <= width for line in lines)


def test_a_small_screen_tells_how_many_rows_it_leaves_out() -> None:
    lines = [line.plain for line in screen_of(snapshot(30), View(), None, 80, 24)]
    assert any(line.startswith("… 2") and line.endswith(" more") for line in lines)


@pytest.mark.parametrize(
    ("wanted", "available", "given"),
    [
        ([3, 3, 3, 50], 16, [3, 3, 3, 7]),
        ([50, 50, 50, 50], 16, [4, 4, 4, 4]),
        ([1, 1, 1, 1], 16, [1, 1, 1, 1]),
        ([5, 5], 0, [0, 0]),
        ([5, 5], -3, [0, 0]),
    ],
)
def test_lines_that_a_table_does_not_need_go_to_others(
    wanted: list[int], available: int, given: list[int]
) -> None:
    assert shares(wanted, available) == given


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("q", ["q"]),
        ("\x1b", ["esc"]),
        ("\x1b[A\x1b[6~x", ["up", "pagedown", "x"]),
        ("\x1bOB", ["down"]),
        ("\x1b[200~é\t\r\x7f", ["é", "tab", "enter", "backspace"]),
        ("\x1b[1;5C\x01", []),
    ],
)
def test_keys_are_read_from_what_a_terminal_sends(text: str, keys: list[str]) -> None:
    assert keys_of(text) == keys


class SlowGateway:
    """Takes a second for each listing of calls; everything else is empty."""

    target = "some:1"
    tenants = OWN

    def __init__(self) -> None:
        self.now_s = 0.0
        self.listings = 0

    def newest_operations(self, filter_text: str, limit: int) -> list[Operation]:
        self.now_s += 1.0
        self.listings += 1
        return [call("id", 1)]

    def workers(self) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse()

    def queues(self) -> list[pb.Queue]:
        return []

    def activity(self, window_s: int) -> pb.ReadActivityResponse:
        return pb.ReadActivityResponse()


def test_calls_that_take_long_to_list_are_listed_less_often() -> None:
    gateway = SlowGateway()
    reader = SnapshotReader(gateway, 10, lambda: gateway.now_s)  # type: ignore[arg-type]
    for _ in range(20):
        assert len(reader.read().calls) == 1
        gateway.now_s += 2.0
    assert gateway.listings == 2
