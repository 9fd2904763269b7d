"""`forebay ps`, `wait`, `cancel`, `logs`, `queues`, `workers` and `errors`, in a shell."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import grpc
import psutil
import pytest
from google.api_core.operations_v1 import OperationsClient

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.commands import Ran, run
from tests.conftest import Up
from tests.e2e.known_calls import TIMEOUT_S, add, named, new_id, running, state_of
from tests.harness import Process, environment, eventually
from tests.terminal import in_terminal

HEADER = ["id", "method", "state", "age", "run", "attempt", "items", "bytes", "note"]
COMMANDS = {
    "ps": [],
    "wait": ["some-id"],
    "cancel": ["some-id"],
    "logs": ["some-id"],
    "queues": [],
    "workers": [],
    "errors": [],
}


@pytest.fixture
def long_call(stub: ComputeServiceStub, channel: grpc.Channel) -> Iterator[str]:
    """A call that keeps running; yields its id."""
    with running(stub, OperationsClient(channel)) as call_id:
        yield call_id


def forebay(up: Up, command: str, *arguments: str) -> Ran:
    return run("forebay", command, "--target", up.address, *arguments, env=up.env)


def rows(ran: Ran) -> dict[str, dict[str, str]]:
    """The table's rows, by their first column."""
    header, *lines = [line.split("\t") for line in ran.succeeded().out.splitlines()]
    return {line[0]: dict(zip(header, line, strict=True)) for line in lines}


def begun(up: Up, command: str, *arguments: str) -> Process:
    return Process(["forebay", command, "--target", up.address, *arguments], env=up.env)


def connected(program: psutil.Process) -> bool:
    return any(one.status == psutil.CONN_ESTABLISHED for one in program.net_connections("tcp"))


def test_ps_shows_calls_as_tab_separated_lines(
    up: Up, stub: ComputeServiceStub, long_call: str
) -> None:
    done = new_id()
    add(stub, done)
    ran = forebay(up, "ps")
    assert ran.out.splitlines()[0].split("\t") == HEADER
    found = rows(ran)
    assert list(found)[:2] == [done, long_call]
    assert found[done]["method"] == "forebay.compute.v1.ComputeService.Add"
    assert (found[done]["state"], found[done]["items"]) == ("SUCCEEDED", "1")
    assert found[long_call]["state"] == "RUNNING"
    assert found[long_call]["attempt"] == "1"
    assert re.fullmatch(r"\d+(\.\d)?s|\d+m\d+s", found[long_call]["run"])


def test_ps_filters_calls(up: Up, stub: ComputeServiceStub, long_call: str) -> None:
    done = new_id()
    add(stub, done)
    assert list(rows(forebay(up, "ps", "--state", "running"))) == [long_call]
    by_method = rows(forebay(up, "ps", "--all", "--method", "Add"))
    assert done in by_method
    assert long_call not in by_method
    assert list(rows(forebay(up, "ps", "--limit", "1", "--method", "*Add"))) == [done]
    both = rows(forebay(up, "ps", "--state", "RUNNING", "--state", "SUCCEEDED"))
    assert {done, long_call} <= set(both)


def test_ps_watch_prints_changes_until_ctrl_c(
    up: Up, stub: ComputeServiceStub, long_call: str
) -> None:
    watching = begun(up, "ps", "--watch")
    try:
        watching.wait_for(rf"{long_call}\t\S+\tRUNNING")
        done = new_id()
        add(stub, done)
        watching.wait_for(rf"{done}\t\S+\tSUCCEEDED")
        forebay(up, "cancel", long_call)
        watching.wait_for(rf"{long_call}\t\S+\tCANCELLED")
        assert watching.stop(signal.SIGINT) == 130
    finally:
        watching.stop(signal.SIGKILL)
    assert watching.output.splitlines()[0].split("\t") == HEADER
    assert watching.output.count(f"{done}\t") == 1
    assert "Traceback" not in watching.output
    assert "Aborted" not in watching.output


def test_ps_is_a_live_table_on_a_terminal(up: Up, stub: ComputeServiceStub) -> None:
    done = new_id()
    add(stub, done)
    output = ""
    command = ["forebay", "ps", "--target", up.address, "--watch"]
    with in_terminal(*command, env=up.env, columns=160) as shown:
        while output.count(done) < 2:  # it was redrawn
            output += shown.read()
        shown.process.send_signal(signal.SIGINT)
        assert shown.process.wait(TIMEOUT_S) == 130
    assert "Add" in output
    assert "ComputeService" not in output
    assert "Traceback" not in output


def test_wait_prints_the_outcome_of_a_call(up: Up, stub: ComputeServiceStub) -> None:
    call_id = new_id()
    add(stub, call_id)
    ran = forebay(up, "wait", call_id).succeeded()
    assert re.fullmatch(r"SUCCEEDED after \d+\.\ds, 1 item\n", ran.out)
    assert forebay(up, "wait", f"operations/{call_id}").out == ran.out


def test_wait_fails_where_the_call_does(up: Up, long_call: str) -> None:
    waiting = begun(up, "wait", long_call)
    try:
        assert forebay(up, "cancel", long_call).succeeded().out == f"{long_call}\tCANCELLED\n"
        assert waiting.ended(TIMEOUT_S) == 1
    finally:
        waiting.stop(signal.SIGKILL)
    assert waiting.output == "CANCELLED: CANCELLED/CANCELLED: the call was cancelled\n"


def test_wait_gives_up_when_its_time_is_up(up: Up, long_call: str) -> None:
    ran = forebay(up, "wait", long_call, "--timeout", "0.2")
    assert (ran.code, ran.out) == (124, "")
    assert ran.err == f"{long_call} is RUNNING after 0.2 s\n"


def test_ctrl_c_ends_waiting_and_not_the_call(
    up: Up, long_call: str, channel: grpc.Channel
) -> None:
    for command in (["wait", long_call], ["logs", "--follow", long_call]):
        waiting = begun(up, *command)
        try:
            program = psutil.Process(waiting.popen.pid)
            eventually(lambda p=program: connected(p), "the command talks to the gateway")
            assert waiting.stop(signal.SIGINT) == 130
        finally:
            waiting.stop(signal.SIGKILL)
        assert "Traceback" not in waiting.output
        assert "Aborted" not in waiting.output
    assert state_of(long_call, OperationsClient(channel)) == "RUNNING"


def test_cancel_continues_after_an_unknown_call(up: Up, stub: ComputeServiceStub) -> None:
    done = new_id()
    add(stub, done)
    ran = forebay(up, "cancel", "no-such-call", done)
    assert ran.code == 1
    assert ran.out == f"{done}\tSUCCEEDED\n"
    assert "Error: no-such-call: NOT_FOUND/CALL_UNKNOWN" in ran.err


def test_the_start_of_an_id_is_enough(up: Up, stub: ComputeServiceStub) -> None:
    call_id = new_id()
    add(stub, call_id)
    start = call_id[:-4]
    assert forebay(up, "wait", start).succeeded().out.startswith("SUCCEEDED after ")
    assert forebay(up, "wait", f"operations/{start}").succeeded().out
    assert forebay(up, "logs", start).succeeded().messages == [{"sum": 3.0}]
    assert forebay(up, "cancel", start).succeeded().out == f"{call_id}\tSUCCEEDED\n"


def test_the_start_of_several_ids_is_refused_and_a_whole_id_is_not(
    up: Up, stub: ComputeServiceStub
) -> None:
    call_id = new_id()
    ids = [call_id, *(f"{call_id}-{number}" for number in range(6))]
    for each in ids:
        add(stub, each)
    for command in ("wait", "cancel", "logs"):
        ran = forebay(up, command, call_id[:-1])
        assert ran.code == 1
        newest = ", ".join(reversed(ids[2:]))
        several = "several calls have an id that starts so"
        assert ran.err == f"Error: {call_id[:-1]}: {several}: {newest}, …\n"
        assert ran.out == ""
    assert forebay(up, "cancel", call_id).succeeded().out == f"{call_id}\tSUCCEEDED\n"


def test_logs_prints_items_as_forebay_call_does(up: Up) -> None:
    call_id = new_id()
    called = forebay(up, "call", "Factorial", "n=25", "--id", call_id).succeeded()
    assert forebay(up, "logs", call_id).succeeded().out == called.out
    assert forebay(up, "logs", call_id, "--first", "1").messages == called.messages[1:]
    assert forebay(up, "logs", "--follow", call_id).out == called.out


def test_logs_follows_a_call_to_its_end(up: Up, stub: ComputeServiceStub) -> None:
    call_id = new_id()
    call = stub.Factorial(
        pb.FactorialRequest(n=1_500_000), timeout=TIMEOUT_S, metadata=named(call_id)
    )
    call.initial_metadata()
    following = begun(up, "logs", "--follow", call_id)
    try:
        items = [item for item in call if not item.HasField("progress")]
        assert following.ended(TIMEOUT_S) == 0
    finally:
        following.stop(signal.SIGKILL)
    lines = [json.loads(line) for line in following.output.splitlines()]
    assert [line.get("digits", "") for line in lines] == [item.digits for item in items]


def test_queues_are_a_line_each(up: Up) -> None:
    found = rows(forebay(up, "queues"))
    assert list(found) == ["add", "factorial", "mat_mul"]
    assert found["add"]["methods"] == "forebay.compute.v1.ComputeService.Add"
    assert (found["add"]["waiting"], found["add"]["oldest"]) == ("0", "-")
    assert int(found["add"]["slots"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["wait", "no-such-call"],
            "no-such-call: NOT_FOUND/CALL_UNKNOWN: no call of that id is known",
        ),
        (["logs", "no-such-call"], "NOT_FOUND/CALL_UNKNOWN"),
        (["logs", "acme/bad/id"], "expected operations/ID"),
        (["cancel", "ü"], "INVALID_ARGUMENT/INVALID_REQUEST: name is 'operations/ü'"),
        (["logs", "x", "--service", "no.such.module"], "expected a compiled protobuf module"),
        (["ps", "--service", "no.such.module"], "expected a compiled protobuf module"),
        (["ps", "--state", "sleeping"], "'sleeping' is not one of"),
        (["ps", "--limit", "0"], "0 is not in the range"),
        (["wait", "x", "--timeout", "-1"], "-1.0 is not in the range"),
        (["cancel"], "Missing argument"),
    ],
)
def test_a_command_reports_the_error(up: Up, arguments: list[str], said: str) -> None:
    ran = forebay(up, *arguments)
    assert ran.code in (1, 2)
    assert said in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unreachable_gateway_is_reported(command: str) -> None:
    words = ["forebay", command, "--target", "127.0.0.1:1", *COMMANDS[command]]
    ran = run(*words, env=environment())
    assert ran.code == 1
    assert "UNAVAILABLE" in ran.err
    assert "run `forebay doctor --target 127.0.0.1:1` to find the cause" in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    ran = run("forebay", command, "--help", env=environment()).succeeded()
    assert f"Usage: forebay {command}" in ran.out


def test_workers_shows_what_each_runs(up: Up, long_call: str) -> None:
    def runs() -> str:
        found = {row["queues"]: row for row in rows(forebay(up, "workers")).values()}
        assert found.keys() == {"add", "factorial", "mat_mul"}
        return found["factorial"]["runs"]

    eventually(lambda: long_call in runs(), "the worker reports")
    assert re.fullmatch(rf"Factorial for \S+ {long_call}", runs())
    listed = map(json.loads, forebay(up, "workers", "--json").succeeded().out.splitlines())
    [worker] = [one for one in listed if one["queues"] == ["factorial"]]
    assert (worker["busy_slots"], worker["slots"], worker["pool"]) == (1, 1, "prefork")
    assert worker["running"][0]["calls"] == [long_call]


def test_errors_shows_the_latest_of_each_kind_with_its_call(
    up: Up, stub: ComputeServiceStub
) -> None:
    call_id, method = new_id(), "forebay.compute.v1.ComputeService.MatMul"
    operands = pb.RandomOperands(m=1, n=1, dtype=99)  # type: ignore[arg-type]  # none of the enum
    with pytest.raises(grpc.RpcError) as caught:
        list(
            stub.MatMul(
                iter([pb.MatMulRequest(random=operands)]),
                timeout=TIMEOUT_S,
                metadata=named(call_id),
            )
        )
    status, message = caught.value.code().name, caught.value.details()
    for name in (method, "MatMul"):
        listed = forebay(up, "errors", "--method", name).succeeded().out
        assert any(status in line and message in line for line in listed.splitlines()), listed
    assert message not in forebay(up, "errors", "--method", "Mul").succeeded().out
    printed = forebay(up, "errors", "--json", "--method", method).succeeded().out
    errors = [json.loads(line) for line in printed.splitlines()]
    (error,) = [one for one in errors if one["message"] == message]
    assert (error["status"], int(error["count"]) >= 1) == (status, True)
