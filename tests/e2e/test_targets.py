"""`--target` is checked by each command that has it: its form, then whether a server is there."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands import Ran, run
from tests.conftest import Up
from tests.harness import environment

COMMANDS = {
    "call": ["Add", "x=1"],
    "ps": [],
    "wait": ["some-id"],
    "cancel": ["some-id"],
    "logs": ["some-id"],
    "queues": [],
}
TOLD_WITHIN_S = 4.5
"""It takes 1.5 s and, with the usual options of our channels, 5 s."""


def forebay(command: str, target: str, *arguments: str) -> Ran:
    return run("forebay", command, "--target", target, *arguments, env=environment())


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize("command", [*COMMANDS, "routes", "doctor"])
@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("localhost", "'localhost': expected HOST:PORT, such as localhost:50051"),
        (
            "http://localhost:8080",
            "'http://localhost:8080': expected HOST:PORT without http://, such as localhost:8080",
        ),
    ],
)
def test_a_target_of_another_form_is_refused(command: str, target: str, said: str) -> None:
    ran = forebay(command, target, *COMMANDS.get(command, []))
    assert ran.code == 2
    assert ran.err.splitlines()[-1].endswith(said)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_port_where_nobody_listens_is_told_at_once(command: str) -> None:
    ran = forebay(command, "127.0.0.1:1", *COMMANDS[command])
    assert ran.code == 1
    assert ran.err == (
        "Error: UNAVAILABLE: no gateway answers at 127.0.0.1:1: Connection refused\n"
        "  run `forebay doctor --target 127.0.0.1:1` to find the cause\n"
    )


def test_a_server_of_another_protocol_is_told_soon(silent: str) -> None:
    began = time.monotonic()
    forebay("ps", "--help")
    start_s = time.monotonic() - began
    began = time.monotonic()
    ran = forebay("ps", silent)
    taken_s = time.monotonic() - began
    assert ran.code == 1
    assert f"no gateway answers at {silent}: connection attempt timed out" in ran.err
    assert taken_s - start_s < TOLD_WITHIN_S


def test_one_of_several_targets_is_enough(up: Up, silent: str) -> None:
    targets = f"127.0.0.1:1,{silent},{up.address}"
    assert forebay("call", targets, "Add", "x=1", "y=2").succeeded().messages == [{"sum": 3.0}]
    assert forebay("queues", targets).succeeded().out.startswith("queue\t")


def test_all_targets_that_do_not_answer_are_named(tmp_path: Path) -> None:
    ran = forebay("ps", "127.0.0.1:1,[::1]:1")
    assert "no gateway answers at 127.0.0.1:1: Connection refused; [::1]:1: " in ran.err


def test_the_hint_of_a_failure_works_as_printed(up: Up) -> None:
    hint = "run `forebay doctor --target 127.0.0.1:1` to find the cause"
    assert hint in forebay("queues", "127.0.0.1:1").err
    doctor = run("forebay", "doctor", "--target", "127.0.0.1:1", env=up.env)
    assert "problem gateway: 127.0.0.1:1 does not answer: UNAVAILABLE" in doctor.out
    assert (
        "fix: start `forebay gateway` or `forebay up`, or give its address with --target"
        in doctor.out
    )
