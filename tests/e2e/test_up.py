"""`forebay up` from start to stop, however it is stopped, and the demo."""

from __future__ import annotations

import os
import re
import shlex
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import psutil
import pytest

from forebay.compute.v1.compute_pb2 import AddRequest, FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from tests.commands import run
from tests.conftest import Up
from tests.harness import (
    Process,
    environment,
    eventually,
    forebay_up,
    lives,
    process,
    short_folder,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def env() -> Iterator[dict[str, str]]:
    with short_folder() as folder:
        yield environment(FOREBAY_DATA_DIR=str(folder / "data"))


def family(up: Process) -> list[psutil.Process]:
    """All processes that `up` has started: its descendants, and the guard's server."""
    return psutil.Process(up.popen.pid).children(recursive=True)


def all_gone(processes: list[psutil.Process]) -> bool:
    return not any(map(lives, processes))


def test_a_signal_stops_everything_cleanly_and_finished_calls_are_kept(
    env: dict[str, str],
) -> None:
    metadata = (("forebay-call-id", "before"),)
    for number, attached in ((signal.SIGINT, "new"), (signal.SIGTERM, "finished")):
        with forebay_up(env=env) as (up, address):
            processes = family(up)
            assert len(processes) >= 8  # guard, server, three workers with a child each
            with grpc.insecure_channel(address) as channel:
                response, call = ComputeServiceStub(channel).Add.with_call(
                    AddRequest(x=4, y=6), timeout=30, metadata=metadata
                )
            assert response.sum == 10
            assert dict(call.initial_metadata())["forebay-attached"] == attached
            assert up.stop(number) == 0
            assert all_gone(processes)
            assert "Traceback" not in up.output
            assert up.output.endswith("forebay is stopping\nforebay has stopped\n")


@pytest.mark.variant
def test_ctrl_c_to_the_whole_process_group_lets_calls_finish(env: dict[str, str]) -> None:
    with forebay_up(env=env) as (up, address), grpc.insecure_channel(address) as channel:
        call = ComputeServiceStub(channel).Factorial(FactorialRequest(n=1_000_000), timeout=60)
        next(call)
        os.killpg(up.popen.pid, signal.SIGINT)
        assert sum(len(response.digits) for response in call) > 5_000_000
        assert up.ended() == 0


def test_a_kill_leaves_nothing_behind(env: dict[str, str]) -> None:
    with forebay_up(env=env) as (up, _):
        processes = family(up)
        up.popen.kill()
        eventually(lambda: all_gone(processes), "every process has ended", 20.0)


@pytest.mark.variant
def test_a_kill_of_the_process_group_leaves_nothing_behind(env: dict[str, str]) -> None:
    with forebay_up(env=env) as (up, _):
        processes = family(up)
        os.killpg(up.popen.pid, signal.SIGKILL)
        eventually(lambda: all_gone(processes), "every process has ended", 20.0)


def test_a_killed_worker_is_replaced(up: Up, stub: ComputeServiceStub) -> None:
    children = psutil.Process(up.process.popen.pid).children()
    next(p for p in children if "add" in p.cmdline()).kill()
    up.process.wait_for("the worker of queue 'add' ended with code -9; restarting it in 1 s")
    assert stub.Add(AddRequest(x=4, y=6), timeout=30, wait_for_ready=True).sum == 10


@pytest.mark.variant
def test_the_gateway_may_be_several_processes(env: dict[str, str]) -> None:
    with forebay_up("--processes", "2", "--log-level", "debug", env=env) as (up, address):
        up.wait_for(r"\[gateway 2\] DEBUG ")
        processes = family(up)
        assert (
            sum("forebay_gateway.cli.gateway_process" in process.cmdline() for process in processes)
            == 2
        )
        with grpc.insecure_channel(address) as channel:
            assert ComputeServiceStub(channel).Add(AddRequest(x=4, y=6), timeout=30).sum == 10
        assert up.stop() == 0
        assert all_gone(processes)


def test_one_folder_has_one_server(up: Up) -> None:
    with process("forebay", "up", "--listen", "127.0.0.1:0", env=up.env) as two:
        two.wait_for("another forebay runs the embedded server")
        assert two.ended() == 1


def test_a_second_gateway_joins_the_embedded_server(up: Up) -> None:
    with process("forebay", "gateway", "--listen", "127.0.0.1:0", env=up.env) as gateway:
        address = gateway.wait_for(r"forebay gateway ready on (\S+)")[1]
        with grpc.insecure_channel(address) as channel:
            assert ComputeServiceStub(channel).Add(AddRequest(x=4, y=6), timeout=30).sum == 10


def test_only_the_user_can_enter_the_servers_folder(up: Up) -> None:
    folder = Path(up.env["FOREBAY_DATA_DIR"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "ledger.sock").stat().st_mode & 0o077 == 0


def test_a_drain_aborts_unfinished_calls_as_draining(env: dict[str, str]) -> None:
    env["FOREBAY_DRAIN_S"] = "0.5"
    with (
        process("forebay", "gateway", "--listen", "127.0.0.1:0", env=env) as gateway,
        grpc.insecure_channel(gateway.wait_for(r"ready on (\S+)")[1]) as channel,
    ):
        stub = ComputeServiceStub(channel)
        waiting = stub.Factorial(
            FactorialRequest(n=5), timeout=60, metadata=(("forebay-call-id", "waits"),)
        )
        waiting.initial_metadata()
        gateway.popen.terminate()
        with pytest.raises(grpc.RpcError) as raised:
            list(waiting)
        error = of_rpc_error(raised.value)
        assert (error.code_name, error.reason) == ("UNAVAILABLE", "DRAINING")
        assert error.retry_after_s
        assert gateway.ended() == 0
        assert "\nforebay gateway is stopping\n" in gateway.output
        assert gateway.output.endswith("forebay gateway has stopped\n")


@pytest.mark.parametrize(
    "trap",
    [
        pytest.param("", id="in a terminal", marks=pytest.mark.variant),
        pytest.param("trap '' INT; ", id="a script's job"),
    ],
)
def test_a_signal_during_the_start_stops_what_has_been_started(
    env: dict[str, str], trap: str
) -> None:
    command = f"{trap}exec forebay up --listen 127.0.0.1:0"
    with process("sh", "-c", command, env=env) as up:
        lock = Path(env["FOREBAY_DATA_DIR"]) / "lock"
        eventually(lock.exists, "the embedded server is being started")
        processes = family(up)
        assert up.stop() == 1
        # The embedded server's guard ends when it sees that its parent has.
        eventually(lambda: all_gone(processes), "no process is left", 10.0)
        assert "Traceback" not in up.output


def test_up_says_what_it_serves_and_its_commands_work_as_printed(up: Up) -> None:
    up.process.wait_for("Ctrl-C stops everything")
    assert "serves forebay.compute.v1.ComputeService: Add, Factorial, MatMul\n" in up.process.output
    printed = re.findall(r"^    (forebay .+)$", up.process.output, re.MULTILINE)
    call, ps = (run(*shlex.split(command), env=up.env).succeeded() for command in printed)
    assert call.out == '{"sum": 3.0}\n'
    assert ps.out.startswith("id\t")


@pytest.mark.variant
def test_an_application_that_is_not_there_is_named_on_one_line(env: dict[str, str]) -> None:
    refused = run("forebay", "up", "--app", "nope:app", env=env)
    assert refused.code == 2
    *_, line = refused.err.splitlines()
    assert line.startswith(
        "Error: Invalid value for '--app' / '-A': 'nope:app': there is no module"
    )
    app = "forebay_workers.celery:ap"
    failed = run("forebay", "up", "--app", app, "--listen", "127.0.0.1:0", env=env)
    assert failed.code == 1
    assert f"--app {app}: this folder and Python's path have no {app}\n" in failed.err
    assert "Traceback" not in failed.err


@pytest.mark.variant
def test_the_demo_starts_and_stops_everything_also_twice_at_once() -> None:
    """By `make demo`, as the README says."""
    with ExitStack() as running:
        demos = [
            running.enter_context(process("make", "demo", env=environment(), cwd=ROOT))
            for _ in range(2)
        ]
        assert [demo.ended(100.0) for demo in demos] == [0, 0]
    for demo in demos:
        assert re.search(r"Factorial\(20000\) = 1819206320\d+ … 0+ \(77338 characters", demo.output)
        assert "MatMul(20, 20) = [[" in demo.output
        assert "Add(4, 6) = 10" in demo.output
        assert "all stopped" in demo.output
    first, second = (re.findall(r"is up on (\S+)", demo.output) for demo in demos)
    assert first != second


@pytest.mark.parametrize("moment", ["demo.py", "is up on", r"Factorial\(20000\): "])
@pytest.mark.variant
def test_ctrl_c_in_the_demo_leaves_nothing_behind(moment: str) -> None:
    demo = ("make", "demo")
    with (
        short_folder() as folder,
        process(*demo, env=environment(TMPDIR=str(folder)), cwd=ROOT) as running,
    ):
        running.wait_for(moment)
        processes = family(running)
        os.killpg(running.popen.pid, signal.SIGINT)
        # make's own ways: the second, if its child has ended before it waits for it
        assert running.ended() in (-signal.SIGINT, 2)
        eventually(lambda: all_gone(processes), "no process is left", 10.0)
        assert list(folder.iterdir()) == []
    if moment != "demo.py":  # Python has begun to import the demo's modules
        assert "Traceback" not in running.output
