"""`--target` is checked by each command that has it: its form, then whether a server is there."""

from __future__ import annotations

import re
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

import click
import grpc
import pytest

from forebay.cli.group import ENTRY_POINTS
from tests.certificates import Authority
from tests.commands import Ran, run
from tests.conftest import Up
from tests.harness import environment, free_port, process, short_folder

CLIENT_COMMANDS: dict[str, Sequence[str]] = {
    "call": ["Add", "x=1"],
    "describe": ["Add"],
    "ps": [],
    "wait": ["some-id"],
    "cancel": ["some-id"],
    "logs": ["some-id"],
    "queues": [],
    "workers": [],
    "errors": [],
    "whoami": [],
    "top": [],
}
COMMANDS: dict[str, Sequence[str]] = {**CLIENT_COMMANDS, "routes": [], "doctor": []}
TOLD_WITHIN_S = 3.0
"""It takes 1.5 s. What the same command takes where nobody listens is not counted."""
_TRIES = 3


def forebay(command: str, target: str, *arguments: str) -> Ran:
    return run("forebay", command, "--target", target, *arguments, env=environment())


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def unconnectable() -> Iterator[str]:
    """A port to which no connection is made, as of a host that drops packets."""
    with ExitStack() as opened:
        listening = opened.enter_context(socket.socket())
        listening.bind(("127.0.0.1", free_port()))
        listening.listen(0)
        for _ in range(4):  # Linux then leaves the others unanswered
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def timed(command: str, target: str, *options: str) -> tuple[Ran, float]:
    """The result, and the seconds that it took; the settings are the default ones."""
    with short_folder() as data:
        words = ["forebay", command, "--target", target, *options, *COMMANDS[command]]
        began = time.monotonic()
        ran = run(*words, env=environment(FOREBAY_DATA_DIR=str(data)))
        return ran, time.monotonic() - began


@cache
def without_waiting_s(command: str) -> float:
    """The seconds that the command takes where it finds at once that nobody listens."""
    return timed(command, "127.0.0.1:1")[1]


@cache
def help_s(command: str) -> float:
    """The seconds that the command takes to show its help: it starts, and asks nobody."""
    began = time.monotonic()
    assert run("forebay", command, "--help", env=environment()).code == 0
    return time.monotonic() - began


def told_soon(
    command: str,
    target: str,
    *options: str,
    otherwise_s: Callable[[str], float] = without_waiting_s,
) -> Ran:
    """The result for a target that does not answer, of which the command must say so in time.

    That is what it takes more than `otherwise_s`. On a busy machine one of several tries is enough:
    a command that waits too long always does.
    """
    for _ in range(_TRIES):
        ran, taken_s = timed(command, target, *options)
        waited_s = taken_s - otherwise_s(command)
        if waited_s < TOLD_WITHIN_S:
            return ran
    raise AssertionError(f"{command} waited {waited_s:.1f} s")


def test_these_are_all_commands_that_take_a_target() -> None:
    commands = {point.name: point.load() for point in entry_points(group=ENTRY_POINTS)}
    assert COMMANDS.keys() == {
        name
        for name, command in commands.items()
        if isinstance(command, click.Command)
        and any("--target" in parameter.opts for parameter in command.params)
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_a_target_of_another_form_is_refused(command: str) -> None:
    ran = forebay(command, "localhost", *COMMANDS[command])
    assert ran.code == 2
    said = "'localhost': expected HOST:PORT, such as localhost:50051"
    assert ran.err.splitlines()[-1].endswith(said)


@pytest.mark.parametrize("command", CLIENT_COMMANDS)
def test_a_port_where_nobody_listens_is_told_at_once(command: str) -> None:
    ran = forebay(command, "127.0.0.1:1", *COMMANDS[command])
    assert ran.code == 1
    assert ran.err == (
        "Error: UNAVAILABLE: no gateway answers at 127.0.0.1:1: Connection refused\n"
        "  run `forebay doctor --target 127.0.0.1:1` to find the cause\n"
    )


EACH_COMMAND = pytest.mark.parametrize(
    "command",
    [
        pytest.param(name, marks=() if name in ("doctor", "ps", "routes") else pytest.mark.variant)
        for name in COMMANDS
    ],
)


@EACH_COMMAND
def test_a_port_where_nobody_listens_is_told_soon(command: str) -> None:
    told_soon(command, "127.0.0.1:1", otherwise_s=help_s)


@EACH_COMMAND
def test_a_port_that_accepts_and_says_nothing_is_told_soon(command: str, silent: str) -> None:
    ran = told_soon(command, silent)
    said = "it accepts connections, but said nothing for 1.5 s"
    assert re.search(f"{silent}( does not answer)?: {re.escape(said)}", ran.out + ran.err)
    assert ran.code == (0 if command == "routes" else 1)


def test_doctor_asks_a_silent_port_once_if_options_describe_the_gateway(silent: str) -> None:
    ran = told_soon("doctor", silent, "--service", "forebay.compute.v1.compute_pb2")
    assert f"gateway: {silent} does not answer: it accepts connections, but" in ran.out


@pytest.mark.parametrize("command", [pytest.param("ps", marks=pytest.mark.variant), "doctor"])
def test_a_silent_port_is_told_as_soon_where_tls_is_expected(
    command: str, silent: str, tmp_path: Path
) -> None:
    ran = told_soon(command, silent, "--ca", str(Authority(tmp_path).ca))
    assert "it accepts connections, but said nothing for 1.5 s" in ran.out + ran.err


@pytest.mark.parametrize("command", [pytest.param("ps", marks=pytest.mark.variant), "doctor"])
def test_a_host_that_takes_no_connection_is_told_soon(command: str, unconnectable: str) -> None:
    ran = told_soon(command, unconnectable)
    assert "no connection within 1.5 s" in ran.out + ran.err


def test_a_busy_server_that_has_accepted_is_waited_for_and_the_command_says_so() -> None:
    answering = threading.Event()

    def wait(request: bytes, context: grpc.ServicerContext) -> bytes:
        answering.wait(30)
        return b""

    check = {"Check": grpc.unary_unary_rpc_method_handler(wait)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_registered_method_handlers("grpc.health.v1.Health", check)
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        with process("forebay", "whoami", "-t", address, env=environment()) as asking:
            asking.wait_for(f"waiting up to 10 s for {address} to answer\n")
            answering.set()
            assert asking.ended() == 1
    finally:
        answering.set()
        server.stop(None).wait()
    assert "UNIMPLEMENTED" in asking.output  # whoami, of a server that is no gateway


@pytest.mark.parametrize("command", ["ps", "doctor"])
def test_the_port_for_browsers_is_told_from_a_gateways(up: Up, command: str) -> None:
    ran = forebay(command, up.web.removeprefix("http://"))
    assert ran.code == 1
    assert "it speaks another protocol than gRPC" in ran.out + ran.err


def test_all_targets_that_do_not_answer_are_named() -> None:
    ran = forebay("ps", "127.0.0.1:1,[::1]:1")
    assert "no gateway answers at 127.0.0.1:1: Connection refused; [::1]:1: " in ran.err


def test_the_hint_of_a_failure_works_as_printed(up: Up, tmp_path: Path) -> None:
    folder = tmp_path / "a folder"  # the hint quotes it
    folder.mkdir()
    ca = str(Authority(folder).ca)
    for options in ([], ["--ca", ca], ["--insecure"]):
        failed = run("forebay", "queues", "-t", "127.0.0.1:1,[::1]:1", *options, env=up.env)
        hint = re.search(r"run `(forebay doctor .*)` to find the cause", failed.err)
        assert hint is not None
        doctor = run(*shlex.split(hint[1]), env=up.env)
        problems = re.findall(r"^problem (.*)", doctor.out, re.MULTILINE)
        assert [problem.partition(" does")[0] for problem in problems] == [
            "gateway: 127.0.0.1:1",
            "gateway: [::1]:1",
        ]
        fix = "start `forebay gateway` or `forebay up`, or give its address with --target"
        assert doctor.out.count(f"fix: {fix}\n") == 2
