"""`forebay call` prints the id of a call that failed or was left."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.commands import run
from tests.e2e.conftest import Site
from tests.e2e.elsewhere import Elsewhere, elsewhere
from tests.e2e.known_calls import new_id
from tests.harness import environment, process

__all__ = ("elsewhere",)


@pytest.mark.parametrize("method", ["Unary", "ServerStream", "Quick"])
def test_a_call_that_fails_prints_its_id(elsewhere: Elsewhere, method: str) -> None:
    ran = elsewhere.run("call", method, "act=raise")
    assert (ran.code, ran.out) == (1, "")
    error, called = ran.err.splitlines()
    assert error.startswith("Error: INTERNAL/HANDLER_FAILED: ")
    assert called.startswith("  id: ")
    if method != "Quick":  # which is ephemeral
        waited = elsewhere.run("wait", called.removeprefix("  id: "))
        assert waited.code == 1
        assert waited.out.startswith("FAILED: INTERNAL/HANDLER_FAILED")


def test_a_call_that_fails_while_its_requests_arrive_prints_its_id(elsewhere: Elsewhere) -> None:
    (elsewhere.folder / "chunk").write_text('{"left_chunk": "AAAA"}')  # 3 bytes of 8
    operands = [
        f"operands.{side}.{size}=1" for side in ("left", "right") for size in ("rows", "cols")
    ]
    ran = elsewhere.run("call", "MatMul", *operands, "--requests", "chunk")
    assert ran.code == 1
    error, *_, called = ran.err.splitlines()
    assert error.startswith("Error: INVALID_ARGUMENT/INVALID_REQUEST: left_chunk 5 bytes")
    waited = elsewhere.run("wait", called.removeprefix("  id: "))
    assert waited.out.startswith("FAILED: INVALID_ARGUMENT/INVALID_REQUEST: left_chunk 5 bytes")


def test_calls_whose_gateway_is_killed_print_their_ids(site: Site, elsewhere: Elsewhere) -> None:
    gateway = site.gateway()
    env = environment(FOREBAY_ADDRESS=gateway.address)
    own, in_header = new_id(), new_id()
    words = ["forebay", "call", "ServerStream", "text=x", "count=1000", "seconds=0.1"]
    variants: Sequence[Sequence[str]] = (
        ["--timeout", "3"],
        ["--timeout", "3", "--id", own],
        ["--timeout", "3", "-H", f"forebay-call-id:{in_header}"],
        ["--no-resume"],
    )
    with ExitStack() as running:
        calls = [
            running.enter_context(process(*words, *options, env=env, cwd=elsewhere.folder))
            for options in variants
        ]
        for calling in calls:
            calling.wait_for('"text"')
        gateway.end()
        assert [calling.ended() for calling in calls] == [1] * len(calls)
    ids = []
    for calling in calls:
        _, printed = calling.output.split("Error: ")
        assert printed.startswith(("UNAVAILABLE: ", "DEADLINE_EXCEEDED: "))
        ids += re.findall(r"^  id: (\S+)$", printed, re.MULTILINE)
    assert len(set(ids)) == len(calls)
    assert ids[1:3] == [own, in_header]
    assert elsewhere.run("cancel", *ids).succeeded()


def test_an_id_that_was_given_is_printed_although_no_gateway_answers(tmp_path: Path) -> None:
    env = environment(FOREBAY_ADDRESS="127.0.0.1:1")
    ran = run("forebay", "call", "Unary", "--id", "mine", env=env, cwd=tmp_path)
    assert ran.err == (
        "Error: UNAVAILABLE: no gateway answers at 127.0.0.1:1: Connection refused\n"
        "  id: mine\n"
        "  run `forebay doctor --target 127.0.0.1:1` to find the cause\n"
    )


def test_an_id_that_was_given_is_printed_although_the_call_is_refused(
    elsewhere: Elsewhere,
) -> None:
    call_id = new_id()
    ran = elsewhere.run("call", "Factorial", "n=99999999", "--id", call_id)
    assert f"  id: {call_id}\n" in ran.err


def test_a_call_that_is_refused_has_no_id(elsewhere: Elsewhere) -> None:
    ran = elsewhere.run("call", "Factorial", "n=99999999")
    assert ran.code == 1
    assert "id: " not in ran.err


def test_ctrl_c_prints_the_id_of_the_call(elsewhere: Elsewhere) -> None:
    call_id = new_id()
    env = environment(FOREBAY_ADDRESS=elsewhere.address)
    arguments = ["text=x", "count=1000", "seconds=0.1", "--id", call_id]
    command = ("forebay", "call", "ServerStream", *arguments)
    with process(*command, env=env, cwd=elsewhere.folder) as calling:
        calling.wait_for('"text"')
        calling.popen.send_signal(signal.SIGINT)
        assert calling.ended() == 130
    assert calling.output.splitlines()[-1] == f"id: {call_id}"
