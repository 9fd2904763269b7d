"""`forebay_gateway.testing`: a whole service inside the test's process."""

from __future__ import annotations

import gc
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import celery
import grpc
import psutil
import pytest
from celery._state import task_join_will_block
from threadpoolctl import threadpool_info

from forebay.compute.v1 import compute_pb2, compute_pb2_grpc
from forebay_backends.settings import SettingsError
from forebay_gateway.testing import Service, serving
from forebay_workers.compute.add import add
from forebay_workers.compute.factorial import factorial
from forebay_workers.compute.mat_mul import mat_mul
from forebay_workers.testing import daemon_thread_pool as daemon_threads
from forebay_workers.testing.in_process import WorkerError
from tests.echo.v1 import echo_pb2, echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.worker import EchoServicer
from tests.harness import environment, eventually, process, short_folder

ROOT = Path(__file__).parents[2]
ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
COMPUTE = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
TIMEOUT_S = 30.0


@pytest.fixture(scope="module", autouse=True)
def temporary() -> Iterator[Path]:
    """A folder for temporary files that no other process uses."""
    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield folder


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """EchoService, for tests that need no other service; a process serves one set at a time."""
    with serving({ECHO: EchoServicer()}) as service:
        yield service


@pytest.fixture
def stub(service: Service) -> echo_pb2_grpc.EchoServiceStub:
    """Its stub."""
    return echo_pb2_grpc.EchoServiceStub(service.channel)


def greet(service: Service, text: str = "hello") -> str:
    stub = echo_pb2_grpc.EchoServiceStub(service.channel)
    return str(stub.Unary(EchoRequest(text=text), timeout=TIMEOUT_S).text)


def test_a_service_answers_its_first_call_within_two_seconds() -> None:
    def took_s() -> float:
        begun = time.monotonic()
        with serving({ECHO: EchoServicer()}) as service:
            assert greet(service) == "hello"
            return time.monotonic() - begun

    # It takes 0.3 s; a machine that is busy with other tests may be slow for a while.
    assert any(took_s() < 2.0 for _ in range(10))


def test_a_service_leaves_nothing_behind(temporary: Path) -> None:
    def held() -> list[object]:
        gc.collect()
        children = sorted(child.pid for child in psutil.Process().children(recursive=True))
        folders = sorted(temporary.glob("forebay-*"))
        threads = sorted(thread.name for thread in threading.enumerate())
        limits = [pool["num_threads"] for pool in threadpool_info()]
        apps = (celery._state.default_app, celery._state._tls.current_app, task_join_will_block())
        signals = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        logs = (logging.root.level, logging.root.handlers)
        files = len(os.listdir("/proc/self/fd"))
        return [children, folders, threads, limits, apps, signals, logs, files]

    with serving({ECHO: EchoServicer()}) as service:  # gRPC keeps objects that it creates once
        greet(service)
    before = held()
    with serving({ECHO: EchoServicer()}) as service:
        greet(service)
        during = held()
    assert held() == before
    assert all(one != other for one, other in zip(before[:3], during[:3], strict=True))
    assert during[5:7] == before[5:7]  # signal handlers and logging never change


KILLED = """
import os, signal
from forebay_gateway.testing import serving
from tests.echo.worker import EchoServicer, echo_pb2
with serving({echo_pb2.DESCRIPTOR.services_by_name["EchoService"]: EchoServicer()}):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_service_whose_process_was_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with short_folder() as folder:
        env = environment(TMPDIR=str(folder), PYTHONPATH=str(ROOT))
        with process(sys.executable, "-c", KILLED, env=env, cwd=tmp_path) as killed:
            assert killed.ended() == -signal.SIGKILL
        eventually(lambda: not any(folder.iterdir()), "the server's guard removes its folder")


def test_services_follow_one_another_each_with_its_own_handlers() -> None:
    def shout(request: EchoRequest, context: grpc.ServicerContext) -> echo_pb2.EchoResponse:
        return echo_pb2.EchoResponse(text=request.text.upper())

    with serving({ECHO: EchoServicer()}) as service:
        assert greet(service) == "hello"
    servicer = EchoServicer()
    servicer.Unary = shout  # type: ignore[method-assign, assignment]
    with serving({ECHO: servicer}) as service:
        assert greet(service) == "HELLO"
    handlers = {"Add": add, "Factorial": factorial, "MatMul": mat_mul}
    with serving({COMPUTE: handlers}) as service:
        compute = compute_pb2_grpc.ComputeServiceStub(service.channel)
        added = compute.Add(compute_pb2.AddRequest(x=4, y=6), timeout=TIMEOUT_S)
        assert added.sum == 10
        with pytest.raises(grpc.RpcError) as unknown:
            greet(service)
        assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_handler_that_does_not_end_is_named_and_blocks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(daemon_threads, "STOP_TIMEOUT_S", 0.2)
    begun, never = threading.Event(), threading.Event()

    def stuck(request: EchoRequest, context: grpc.ServicerContext) -> echo_pb2.EchoResponse:
        begun.set()
        never.wait()
        return echo_pb2.EchoResponse()

    servicer = EchoServicer()
    servicer.Unary = stuck  # type: ignore[method-assign, assignment]

    def serve() -> None:
        with serving({ECHO: servicer}) as service:
            stub = echo_pb2_grpc.EchoServiceStub(service.channel)
            call = stub.Unary.future(EchoRequest())
            assert begun.wait(TIMEOUT_S), call

    with pytest.raises(WorkerError, match=r"test_testing\.py:\d+ in stuck"):
        serve()
    with serving({ECHO: EchoServicer()}) as service:
        assert greet(service) == "hello"


def test_calls_that_still_run_are_stopped() -> None:
    over = threading.Event()
    begun = threading.Event()

    def heed(request: EchoRequest, context: grpc.ServicerContext) -> echo_pb2.EchoResponse:
        context.add_callback(over.set)
        begun.set()
        assert over.wait(TIMEOUT_S)
        return echo_pb2.EchoResponse()

    servicer = EchoServicer()
    servicer.Unary = heed  # type: ignore[method-assign, assignment]
    with serving({ECHO: servicer}) as service:
        stub = echo_pb2_grpc.EchoServiceStub(service.channel)
        # A call with its caller's id continues for a while after its last watcher has disconnected.
        call = stub.Unary.future(EchoRequest(), metadata=[("forebay-call-id", "lingering")])
        assert begun.wait(TIMEOUT_S), call
        assert not over.is_set()
    assert over.is_set()


def test_the_environment_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FOREBAY_LEDGER_URL", "redis://production.invalid/0")
    monkeypatch.setenv("FOREBAY_MAX_CALLS", "nonsense")
    (tmp_path / "forebay.toml").write_text('broker_url = "amqp://production.invalid//"\n')
    monkeypatch.chdir(tmp_path)
    with serving({ECHO: EchoServicer()}, settings={"max_message_bytes": 2048}) as service:
        assert greet(service) == "hello"
        with pytest.raises(grpc.RpcError) as large:
            greet(service, "x" * 3000)
        assert large.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"ledger_url": "redis://localhost"}, "has its own ledger_url"),
        ({"listen": "0.0.0.0:1"}, "has its own listen"),
        ({"max_cals": 1}, "max_cals: no such setting"),
        ({"max_calls": 0}, "max_calls = 0"),
    ],
)
def test_settings_that_are_wrong_are_named(
    settings: dict[str, object], why: str, temporary: Path
) -> None:
    with pytest.raises(SettingsError, match=re.escape(why)):
        serving({ECHO: EchoServicer()}, settings=settings).__enter__()
    assert [*temporary.glob("forebay-*")] == []


def test_services_that_are_wrong_are_named() -> None:
    with pytest.raises(LookupError, match=r"EchoService\.Unary has a route, but no handler"):
        serving({ECHO: {}}).__enter__()
    with pytest.raises(SettingsError, match="none of their methods has a route"):
        serving({}).__enter__()


def test_it_is_refused_while_another_is_served(service: Service) -> None:
    with pytest.raises(RuntimeError, match="it can have one at a time"):
        serving({ECHO: EchoServicer()}).__enter__()
    assert greet(service) == "hello"


def test_all_four_kinds_of_call_are_answered(stub: echo_pb2_grpc.EchoServiceStub) -> None:
    two = [EchoRequest(text="a"), EchoRequest(text="b")]
    assert stub.Unary(EchoRequest(text="hi"), timeout=TIMEOUT_S).text == "hi"
    assert stub.Quick(EchoRequest(text="hi"), timeout=TIMEOUT_S).text == "hi"
    streamed = stub.ServerStream(EchoRequest(text="hi", count=3), timeout=TIMEOUT_S)
    assert [response.index for response in streamed] == [0, 1, 2]
    assert stub.ClientStream(iter(two), timeout=TIMEOUT_S).text == "ab"
    assert [r.text for r in stub.Bidi(iter(two), timeout=TIMEOUT_S)] == ["a", "b"]


def test_several_calls_run_at_a_time(stub: echo_pb2_grpc.EchoServiceStub, tmp_path: Path) -> None:
    gate = echo_pb2.Gate(path=str(tmp_path / "open"))
    waiting = [
        stub.ServerStream(EchoRequest(count=1, gate=gate), timeout=TIMEOUT_S) for _ in range(4)
    ]
    assert stub.Unary(EchoRequest(text="hi"), timeout=TIMEOUT_S).text == "hi"
    (tmp_path / "open").touch()
    assert [len(list(responses)) for responses in waiting] == [1, 1, 1, 1]


def test_a_handlers_status_reaches_the_caller(stub: echo_pb2_grpc.EchoServiceStub) -> None:
    with pytest.raises(grpc.RpcError) as aborted:
        stub.Unary(EchoRequest(act="abort"), timeout=TIMEOUT_S)
    assert aborted.value.code() is grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError) as failed:
        stub.Unary(EchoRequest(act="raise"), timeout=TIMEOUT_S)
    assert failed.value.code() is grpc.StatusCode.INTERNAL


async def test_asyncio_calls_it_by_its_address(service: Service) -> None:
    async with grpc.aio.insecure_channel(service.address) as channel:
        stub = echo_pb2_grpc.EchoServiceStub(channel)
        response = await stub.Unary(EchoRequest(text="hi"), timeout=TIMEOUT_S)
        assert response.text == "hi"
