"""Coroutine handlers on Celery's own pools: one at a time in each slot."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from tests.echo.running import COROUTINES_APP, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, short_folder

TIMEOUT_S = 60.0
KILLED = "its pool child is killed"

pytestmark = pytest.mark.variant  # test_servicers.py, too, runs coroutines on prefork


@dataclass(frozen=True)
class System:
    """A gateway, and a worker of two slots (solo: of one); a handler may run for 2 s."""

    stub: EchoServiceStub
    worker: Process


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with short_folder() as folder:
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_RUN_TIME_S="2",
            FOREBAY_CANCEL_GRACE_S="0.2",
        )
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, request.param, 2, COROUTINES_APP) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            yield System(EchoServiceStub(channel), worker)


with_children = pytest.mark.parametrize("system", ["prefork"], indirect=True, scope="module")
"""Threads can't be killed, and a killed process of the other pools is the whole worker."""


def failed(system: System, method: str, request: EchoRequest) -> tuple[grpc.StatusCode, str]:
    """The status of a call that fails, and its message."""
    metadata = (("forebay-call-id", f"coroutine-{uuid.uuid4()}"),) if method == "Unary" else ()
    with pytest.raises(grpc.RpcError) as raised:
        getattr(system.stub, method)(request, timeout=TIMEOUT_S, metadata=metadata)
    return raised.value.code(), raised.value.details()


def test_all_kinds_of_methods_run(system: System) -> None:
    stub, request = system.stub, EchoRequest(text="x", count=2)
    assert stub.Unary(request, timeout=TIMEOUT_S).text == "x"
    assert stub.Quick(request, timeout=TIMEOUT_S).text == "x"
    assert [r.index for r in stub.ServerStream(request, timeout=TIMEOUT_S)] == [0, 1]
    assert stub.ClientStream(iter([request] * 3), timeout=TIMEOUT_S).text == "xxx"
    assert [r.index for r in stub.Talk(iter([request] * 3), timeout=TIMEOUT_S)] == [0, 1, 2]


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_the_run_time_limit_ends_a_coroutine(system: System, method: str) -> None:
    ended_at_the_limit(system, method, "sleep")


@with_children
@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_the_run_time_limit_kills_the_child_of_a_coroutine_that_ignores_its_cancellation(
    system: System, method: str
) -> None:
    killed = system.worker.output.count(KILLED)
    ended_at_the_limit(system, method, "swallow")
    eventually(lambda: system.worker.output.count(KILLED) > killed, KILLED)


def ended_at_the_limit(system: System, method: str, act: str) -> None:
    """Fails unless the limit ends the call, and the next call runs."""
    code, details = failed(system, method, EchoRequest(act=act, seconds=60))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert method == "Unary" or "run time limit" in details
    assert getattr(system.stub, method)(EchoRequest(text="next"), timeout=TIMEOUT_S).text == "next"


@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream"])
def test_a_cancel_cancels_the_coroutine(system: System, method: str, tmp_path: Path) -> None:
    file = tmp_path / "ended"
    request = EchoRequest(act="sleep", seconds=60, text=str(file), count=1)
    send = getattr(system.stub, method)
    call = getattr(send, "future", send)(request, timeout=TIMEOUT_S)
    eventually(file.with_suffix(".begun").exists, "the handler has begun")
    call.cancel()
    eventually(file.exists, "the handler was cancelled")


@with_children
def test_a_call_whose_child_has_died_runs_again(system: System, tmp_path: Path) -> None:
    request = EchoRequest(act="die once", text=str(tmp_path / "died"), count=2)
    responses = [response.index for response in system.stub.Steady(request, timeout=TIMEOUT_S)]
    assert responses == [0, 1]
