"""`forebay top`: live in a terminal, and as tables and JSON where there is none."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient
from rich.cells import cell_len

from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.commands import Ran, run
from tests.conftest import Up
from tests.e2e.known_calls import running
from tests.harness import environment, forebay_gateway, free_port, short_folder
from tests.terminal import STYLES, Terminal, in_terminal

TIMEOUT_S = 60.0
COLUMNS, LINES = 80, 24
ALTERNATE, NORMAL = "\x1b[?1049h", "\x1b[?1049l"
SHOWN_CURSOR = "\x1b[?25h"


class Screen:
    """What a live command shows in its terminal."""

    def __init__(self, terminal: Terminal) -> None:
        self.terminal = terminal
        self.modes = terminal.modes
        self.output = ""

    @property
    def lines(self) -> list[str]:
        """The lines of the last whole drawing."""
        drawn = self.output.rpartition("\x1b[J")[0].rpartition("\x1b[H")[2]
        return STYLES.sub("", drawn).split("\r\n")

    def wait_for(self, condition: Callable[[list[str]], bool], what: str) -> list[str]:
        """The lines as soon as they fulfil the condition."""
        give_up = time.monotonic() + TIMEOUT_S
        while not condition(self.lines):
            more = self.terminal.read()
            assert more, f"ended before: {what}:\n{self.output}"
            assert time.monotonic() < give_up, f"not in time: {what}:\n{self.lines}"
            self.output += more
        return self.lines

    def wait_for_text(self, text: str) -> list[str]:
        return self.wait_for(lambda lines: text in "\n".join(lines), text)

    def ended(self) -> int:
        """The exit code, when the command has restored the terminal and ended."""
        code = self.terminal.process.wait(TIMEOUT_S)
        while NORMAL not in self.output:
            more = self.terminal.read()
            assert more, f"the terminal was not restored:\n{self.output}"
            self.output += more
        assert self.output.index(ALTERNATE) < self.output.index(NORMAL)
        assert SHOWN_CURSOR in self.output
        assert self.terminal.modes == self.modes
        assert "Traceback" not in self.output
        return code or 0


@pytest.fixture
def long_call(stub: ComputeServiceStub, channel: grpc.Channel) -> Iterator[str]:
    """A call that keeps running; yields its id."""
    with running(stub, OperationsClient(channel)) as call_id:
        yield call_id


@pytest.fixture
def screen(up: Up) -> Iterator[Screen]:
    """The live view of `up`, in a small terminal."""
    command = ["forebay", "top", "--target", up.address, "--interval", "0.5"]
    with in_terminal(*command, env=up.env, columns=COLUMNS, lines=LINES) as terminal:
        screen = Screen(terminal)
        screen.wait_for_text("q quit")
        yield screen


def top(up: Up, *arguments: str) -> Ran:
    return run("forebay", "top", "--target", up.address, *arguments, env=up.env)


def test_all_tables_fit_into_a_small_terminal(screen: Screen, long_call: str) -> None:
    lines = screen.wait_for_text(long_call)
    assert len(lines) == LINES
    assert all(cell_len(line) <= COLUMNS for line in lines)
    text = "\n".join(lines)
    for column in ("queue▲", "worker▲", "method", "id "):
        assert column in text
    for name in ("factorial", "ComputeService.Add", "prefork", "RUNNING", "slots 1/3"):
        screen.wait_for_text(name)
    screen.terminal.press("q")
    assert screen.ended() == 0


def test_keys_choose_a_table_its_order_and_a_filter(screen: Screen, long_call: str) -> None:
    screen.terminal.press("1")
    lines = screen.wait_for(lambda lines: "worker" not in "".join(lines[3:23]), "one table")
    assert [line.split()[0] for line in lines[3:7]] == ["queue▲", "add", "factorial", "mat_mul"]
    screen.terminal.press("r")
    screen.wait_for(lambda lines: lines[4].startswith("mat_mul"), "the other order")
    screen.terminal.press("s")
    screen.wait_for_text("depth▲")
    screen.terminal.press("/fact\r")
    screen.wait_for(lambda lines: lines[5].strip() == "", "one row")
    screen.wait_for_text("filter: fact")
    screen.terminal.press("\x1b")
    screen.wait_for(lambda lines: lines[6].startswith("mat_mul"), "all rows")
    screen.terminal.press("?")
    screen.wait_for_text("PgUp")
    screen.terminal.press("xq")
    assert screen.ended() == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_restore_the_terminal(screen: Screen, number: int, code: int) -> None:
    screen.terminal.process.send_signal(number)
    assert screen.ended() == code


def test_a_resized_terminal_is_drawn_anew(screen: Screen) -> None:
    screen.terminal.resize(120, 30)
    screen.terminal.process.send_signal(signal.SIGWINCH)
    screen.wait_for(lambda lines: len(lines) == 30, "more lines")
    screen.terminal.resize(20, 5)
    screen.terminal.process.send_signal(signal.SIGWINCH)
    lines = screen.wait_for(lambda lines: len(lines) == 5, "few lines")
    assert all(cell_len(line) <= 20 for line in lines)


def test_the_view_outlives_an_outage_of_the_gateway() -> None:
    listen = f"127.0.0.1:{free_port()}"
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_gateway("--listen", listen, env=env) as (gateway, _):
            command = ["forebay", "top", "--target", listen, "--interval", "0.5"]
            with in_terminal(*command, env=env, columns=COLUMNS, lines=LINES) as terminal:
                screen = Screen(terminal)
                screen.wait_for_text("no workers")
                gateway.stop(signal.SIGKILL)
                away = screen.wait_for_text("no gateway answers")
                assert "factorial" in "\n".join(away)  # the last figures stay
                with forebay_gateway("--listen", listen, env=env):
                    screen.wait_for(lambda lines: "forebay top" in lines[0], "it is back")
                    terminal.press("q")
                    assert screen.ended() == 0


def test_without_a_terminal_each_table_is_printed_once(up: Up, long_call: str) -> None:
    parts = top(up).succeeded().out.split("\n\n")
    tables = [[line.split("\t") for line in part.splitlines()] for part in parts]
    assert [rows[0][0] for rows in tables] == ["queue", "worker", "method", "id"]
    assert all(len(row) == len(rows[0]) for rows in tables for row in rows)
    calls = {row[0]: row for row in tables[3]}
    assert calls[long_call][1:3] == ["forebay.compute.v1.ComputeService.Factorial", "RUNNING"]


def test_one_table_is_printed_in_the_order_asked_for(up: Up) -> None:
    ran = top(up, "--show", "queues", "--sort", "-queue", "--filter", "a", "--once").succeeded()
    assert [line.split("\t")[0] for line in ran.out.splitlines()] == [
        *("queue", "mat_mul", "factorial", "add")
    ]
    wrong = top(up, "--show", "queues", "--sort", "p99")
    assert (wrong.code, "'p99' is not a column" in wrong.err) == (2, True)


def test_rows_are_printed_as_json(up: Up, long_call: str) -> None:
    rows = [json.loads(line) for line in top(up, "--json").succeeded().out.splitlines()]
    by_table = {
        name: [row for row in rows if row["table"] == name]
        for name in ("queues", "workers", "methods", "calls")
    }
    assert [row["queue"] for row in by_table["queues"]] == ["add", "factorial", "mat_mul"]
    assert {row["slots"] for row in by_table["workers"]} == {1}
    assert all(row["seen_s"] < 15 for row in by_table["workers"])
    assert long_call in {row["id"] for row in by_table["calls"]}
    assert "forebay.compute.v1.ComputeService.Add" in {row["method"] for row in by_table["methods"]}
    only = top(up, "--json", "--show", "queues").succeeded()
    assert {json.loads(line)["table"] for line in only.out.splitlines()} == {"queues"}
