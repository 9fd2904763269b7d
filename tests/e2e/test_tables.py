"""Tables of commands: in terminals of any width, and as lines of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from forebay.cli import error_list, workers
from forebay.cli.call_rows import QUEUES
from forebay.cli.top import tables as top
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_gateway.cli.display import ROUTES
from tests.commands import run
from tests.conftest import Up
from tests.e2e.known_calls import TIMEOUT_S, add, named, new_id
from tests.harness import Process
from tests.terminal import Shown, in_terminal, shown

WIDTHS = (40, 80, 200)


@pytest.fixture
def calls(stub: ComputeServiceStub) -> list[str]:
    """A call that succeeded, one that failed and one with the longest id; their ids."""
    ids = [new_id(), new_id(), new_id().ljust(128, "x")]
    add(stub, ids[0])
    fail(stub, ids[1])
    add(stub, ids[2])
    return ids


def fail(stub: ComputeServiceStub, call_id: str) -> None:
    """A call that fails while it runs: its chunk is too long."""
    requests = [
        pb.MatMulRequest(
            operands=pb.Operands(left=pb.Matrix(rows=1, cols=1), right=pb.Matrix(rows=1, cols=1))
        ),
        pb.MatMulRequest(left_chunk=b"1"),
    ]
    with pytest.raises(grpc.RpcError):
        list(stub.MatMul(iter(requests), timeout=TIMEOUT_S, metadata=named(call_id)))


def ps(up: Up, columns: int, *arguments: str) -> Shown:
    command = ["forebay", "ps", "--target", up.address, *arguments]
    return shown(*command, env=up.env, columns=columns)


def objects(up: Up, command: str, *arguments: str) -> list[dict[str, Any]]:
    ran = run("forebay", command, *arguments, "--json", env=up.env).succeeded()
    return [json.loads(line) for line in ran.out.splitlines()]


@pytest.mark.parametrize("columns", WIDTHS)
def test_ps_shows_whole_ids_with_status_and_reason_of_failures(
    up: Up, calls: list[str], columns: int
) -> None:
    table = ps(up, columns, "--limit", "3")
    assert table.code == 0
    assert "…" not in table.raw
    found = [re.search(rf"^{call}(\s|$)", "\n".join(table.lines), re.MULTILINE) for call in calls]
    assert all(found), table.raw
    assert all(len(line) <= columns for line in table.lines if calls[2] not in line)
    text = re.sub(r"\s+", " ", " ".join(table.lines))
    assert "SUCCEEDED" in text
    assert "FAILED" in text
    assert "INVALID_ARGUMENT/INVALID_REQUEST" in text
    assert all(f"{name}" in text for name in ("age", "run", "items", "bytes"))


@pytest.mark.parametrize(
    ("command", "names", "first"),
    [
        (["workers"], workers.COLUMNS, "forebay-factorial-"),
        (["errors"], error_list.COLUMNS, "forebay.compute.v1.ComputeService.MatMul"),
        (["routes"], ROUTES, "forebay.compute.v1.ComputeService.Factorial"),
        (["queues"], QUEUES, "factorial"),
        (["top", "--once", "--show", "workers"], top.WORKERS, "forebay-factorial-"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_tables_fit_a_terminal_of_80_columns(
    up: Up, calls: list[str], command: list[str], names: Sequence[str], first: str
) -> None:
    """Each line and each column; what has no room is below its row, whole."""
    word, *options = command
    shown_table = shown("forebay", word, "--target", up.address, *options, env=up.env, columns=80)
    assert shown_table.code == 0
    assert "…" not in shown_table.raw
    header, *lines = shown_table.lines
    assert all(len(line) <= 80 for line in [header, *lines])
    assert header.split()[0] == names[0]
    inline = header.split()
    assert inline == [name for name in names if name in inline]  # in their order
    text = "\n".join(lines)
    assert any(line.startswith(first) for line in lines)
    below = set(names) - set(inline) - {"runs"}  # which is empty: the workers are idle
    assert all(f" {name}: " in text for name in below), text


def test_ps_watch_draws_the_table_again_without_cutting_ids(up: Up, calls: list[str]) -> None:
    command = ["forebay", "ps", "--target", up.address, "--watch", "--limit", "2"]
    output = ""
    with in_terminal(*command, env=up.env, columns=40) as terminal:
        while output.count(calls[1]) < 2:
            output += terminal.read()
    assert "…" not in output
    assert calls[2] in output.replace("\r\n", "")  # it is wider than the terminal


def test_ps_prints_calls_as_json(up: Up, calls: list[str]) -> None:
    found = {one["id"]: one for one in objects(up, "ps", "-t", up.address)}
    done, failed = found[calls[0]], found[calls[1]]
    assert done["method"] == "forebay.compute.v1.ComputeService.Add"
    assert (done["state"], done["status"], done["reason"]) == ("SUCCEEDED", "OK", None)
    assert (done["items"], done["attempt"], done["queue"]) == (1, 1, "add")
    assert done["create_time"] < done["finish_time"]
    assert (failed["status"], failed["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert failed["message"]


def test_ps_watch_prints_new_and_changed_calls_as_json(up: Up, stub: ComputeServiceStub) -> None:
    command = ["forebay", "ps", "--target", up.address, "--watch", "--json", "--method", "Add"]
    watching = Process(command, env=up.env)
    try:
        before = new_id()
        add(stub, before)
        watching.wait_for(f"{before}.*SUCCEEDED")
        after = new_id()
        add(stub, after)
        watching.wait_for(f"{after}.*SUCCEEDED")
    finally:
        watching.stop()
    calls = [json.loads(line) for line in watching.output.splitlines()]
    ended = [call["id"] for call in calls if call["state"] == "SUCCEEDED"]
    assert ended.count(before) == ended.count(after) == 1


def test_queues_prints_queues_as_json(up: Up) -> None:
    add, *others = objects(up, "queues", "-t", up.address)
    assert [one["queue"] for one in others] == ["factorial", "mat_mul"]
    assert add["methods"] == ["forebay.compute.v1.ComputeService.Add"]
    assert (add["waiting"], add["oldest_s"], add["consumers"]) == (0, None, 1)


def test_wait_and_cancel_print_the_call_as_json(up: Up, calls: list[str]) -> None:
    for command in ("wait", "cancel"):
        [call] = objects(up, command, "-t", up.address, calls[0])
        assert (call["id"], call["status"]) == (calls[0], "OK")
    failed = run("forebay", "wait", "-t", up.address, calls[1], "--json", env=up.env)
    assert failed.code == 1
    assert json.loads(failed.out)["reason"] == "INVALID_REQUEST"
