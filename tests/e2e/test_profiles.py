"""`forebay doctor --profile`: a flame graph of a running gateway."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import grpc
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import calls_pb2
from forebay.v1.calls_pb2_grpc import CallServiceStub
from tests.commands import Ran, run
from tests.conftest import Up
from tests.e2e.known_calls import TIMEOUT_S, refusal
from tests.harness import Process, eventually


def doctor(up: Up, folder: Path, *arguments: str) -> Ran:
    return run("forebay", "doctor", "--target", up.address, *arguments, env=up.env, cwd=folder)


def request_of(seconds: float) -> calls_pb2.ReadProfileRequest:
    request = calls_pb2.ReadProfileRequest()
    request.duration.FromMilliseconds(round(seconds * 1000))
    return request


def test_the_flame_graph_shows_how_calls_are_served(
    up: Up, stub: ComputeServiceStub, tmp_path: Path
) -> None:
    profiling = Process(
        ["forebay", "doctor", "-t", up.address, "--profile", "2"], env=up.env, cwd=tmp_path
    )
    profiling.wait_for("is profiled for 2 s")
    while profiling.popen.poll() is None:
        stub.Add(pb.AddRequest(x=1, y=2), timeout=TIMEOUT_S)
    assert profiling.ended() == 0, profiling.output
    [path] = tmp_path.iterdir()
    assert re.fullmatch(r"forebay-profile-\d{8}-\d{6}\.html", path.name)
    page = path.read_text()
    assert "BaseEventLoop._run_once" in page
    assert up.address in page
    assert path.stat().st_size < 2 << 20
    assert re.search(rf"{path.name}: [\d.]+ s of CPU time in \d.\d s", profiling.output)


def test_the_flame_graph_is_written_where_the_options_say(up: Up, tmp_path: Path) -> None:
    ran = doctor(up, tmp_path, "--profile", "0.1", "--output", "here.html")
    assert ran.succeeded().out.startswith("here.html: ")
    wrong = doctor(up, tmp_path, "--profile", "0.1", "-o", "no/folder.html")
    assert (wrong.code, "no/folder.html can't be written" in wrong.err) == (1, True)
    assert doctor(up, tmp_path, "-o", "x.html").code == 2
    assert doctor(up, tmp_path, "--profile", "301").code == 2


def test_a_profile_that_is_interrupted_leaves_no_file(up: Up, tmp_path: Path) -> None:
    command = ["forebay", "doctor", "-t", up.address, "--profile", "60"]
    profiling = Process(command, env=up.env, cwd=tmp_path)
    profiling.wait_for("is profiled")
    assert profiling.stop(signal.SIGINT) == 130
    assert not list(tmp_path.iterdir())
    assert "Traceback" not in profiling.output


def test_one_profile_is_taken_at_a_time(up: Up, channel: grpc.Channel, tmp_path: Path) -> None:
    calls = CallServiceStub(channel)

    def is_refused() -> bool:
        nonlocal first
        if first.done():  # another test's profile was still being taken
            first = calls.ReadProfile.future(request_of(60), timeout=100)
        return outcome(calls) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL") and not first.done()

    first = calls.ReadProfile.future(request_of(60), timeout=100)
    eventually(is_refused, "the second profile is refused")
    refused = doctor(up, tmp_path, "--profile", "0.1")
    assert refused.code == 1
    assert "another profile of this gateway process is being taken" in refused.err
    assert not list(tmp_path.iterdir())
    first.cancel()
    eventually(lambda: outcome(calls)[0] == "OK", "the cancelled profile is over")


def outcome(calls: CallServiceStub) -> tuple[str, str]:
    try:
        calls.ReadProfile(request_of(0.01), timeout=TIMEOUT_S)
    except grpc.RpcError as error:
        refused = of_rpc_error(error)
        return refused.code_name, refused.reason
    return "OK", ""


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 300.5])
def test_the_time_of_a_profile_is_bounded(channel: grpc.Channel, seconds: float) -> None:
    calls = CallServiceStub(channel)
    code, _, message = refusal(lambda: calls.ReadProfile(request_of(seconds), timeout=TIMEOUT_S))
    assert (code, "expected more than 0 s, and at most 300 s" in message) == (
        "INVALID_ARGUMENT",
        True,
    )
