"""The clock of the ledger's server is stepped by an hour, in either direction: no call ends."""

from __future__ import annotations

import json
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.longrunning import operations_pb2, operations_pb2_grpc

from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CACHE, CALL_ID, START_AFTER, START_AT
from forebay_backends.ledger.keys import CallKey
from tests.e2e.known_calls import new_id
from tests.echo.running import ROOT
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import (
    answers,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    process,
    redis_binary,
    short_folder,
    worker,
)

HOUR_S = 3600
TIMEOUT_S = 60.0
SLOTS = 3
WORK_S = 6.0
DELAY_S = 6.0
LINGER_S = 6.0
TTL_S = 10.0
EARLY_S = 0.5
"""A clock that was stepped approaches the server's clock by one part in 200."""
CACHED = "tests.echo.v1.EchoService.Cached"
SOURCE = Path(__file__).with_name("stepped_clock.c")


class SteppedServer:
    """A Redis whose wall clock can be stepped."""

    def __init__(self, url: str, offset: Path) -> None:
        self.client = redis.Redis.from_url(url)
        self.url = url
        self._offset = offset
        self._seconds = 0

    def step(self, seconds: int) -> None:
        before, _ = self.client.time()
        self._seconds += seconds
        with self._offset.open("r+b") as file:
            file.write(struct.pack("=q", self._seconds))
        after, _ = self.client.time()
        assert abs(after - before - seconds) < 60, "the server's clock was not stepped"

    def field(self, call_id: str, name: str) -> str:
        call = CallKey(call_id)
        return (self.client.hget(f"{call.partition}:call:{call}", name) or b"").decode()


@contextmanager
def stepped_server() -> Iterator[SteppedServer]:
    port = free_port()
    with short_folder() as folder:
        library, offset = folder / "stepped_clock.so", folder / "offset"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        offset.write_bytes(struct.pack("=q", 0))
        command = [redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        env = environment(LD_PRELOAD=str(library), STEPPED_CLOCK=str(offset))
        with process(*command, "--dir", str(folder), env=env):
            server = SteppedServer(f"redis://127.0.0.1:{port}/0", offset)
            eventually(lambda: answers(server.client), "the server answers")
            yield server
            server.client.close()


class Site:
    """The server, a gateway, a worker of EchoService and one of Add."""

    def __init__(self, server: SteppedServer, channel: grpc.Channel) -> None:
        self.server = server
        self.echo = EchoServiceStub(channel)
        self.compute = ComputeServiceStub(channel)
        self.operations = operations_pb2_grpc.OperationsStub(channel)

    def start(
        self, method: str, request: EchoRequest, *metadata: tuple[str, str], **options: Any
    ) -> tuple[str, Any]:
        """Starts a call; its id, unless it is ephemeral, and its future."""
        if method == "Quick":
            return "", self.echo.Quick.future(request, timeout=TIMEOUT_S)
        call_id = new_id()
        options = {"timeout": TIMEOUT_S, **options, "metadata": [(CALL_ID, call_id), *metadata]}
        return call_id, getattr(self.echo, method).future(request, **options)

    def cached(self, text: str) -> str:
        """Calls the method with a cache; the value of `forebay-cache`."""
        _, call = self.echo.Cached.with_call(EchoRequest(text=text), timeout=TIMEOUT_S)
        return str(dict(call.initial_metadata())[CACHE])

    def is_kept(self, call_id: str) -> bool:
        """Whether the finished call can be read."""
        request = operations_pb2.GetOperationRequest(name=f"operations/{call_id}")
        return bool(self.operations.GetOperation(request, timeout=TIMEOUT_S).done)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with stepped_server() as server:
        env = environment(
            FOREBAY_LEDGER_URL=server.url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_LINGER_S=str(LINGER_S),
            FOREBAY_CACHES=json.dumps({CACHED: {"ttl": f"{TTL_S}s"}}),
        )
        command = ["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"]
        options = ["--pool", "threads", "--concurrency", str(SLOTS), "--without-mingle"]
        with (
            forebay_gateway(env=env, cwd=ROOT) as (_, address),
            process(*command, *options, "--without-gossip", env=env, cwd=ROOT) as echoes,
            worker("-Q", "add", "--concurrency", "1", env=env),
            grpc.insecure_channel(address) as channel,
        ):
            echoes.wait_for(r" ready\.")
            yield Site(server, channel)


@pytest.mark.parametrize(
    "step_s",
    [
        HOUR_S,
        -HOUR_S,
        pytest.param(-2 * HOUR_S, marks=pytest.mark.variant),
        pytest.param(2 * HOUR_S, marks=pytest.mark.variant),
    ],
)
def test_a_step_ends_no_call_and_new_calls_work(site: Site, step_s: int) -> None:
    finished, call = site.start("Unary", EchoRequest(text="finished"))
    assert call.result().text == "finished"
    work = EchoRequest(act="sleep", seconds=WORK_S, text="x")
    running = [site.start(method, work) for method in ("Unary", "Unary", "Quick")]
    for call_id, _ in running[:2]:
        eventually(lambda named=call_id: site.server.field(named, "state") == "RUNNING", "it runs")
    waiting = [site.start(method, EchoRequest(text="x")) for method in ("Unary", "Quick")]
    eventually(lambda: site.server.field(waiting[0][0], "state") == "QUEUED", "it waits")

    site.server.step(step_s)

    for call_id in (None, new_id()):
        metadata = () if call_id is None else ((CALL_ID, call_id),)
        response = site.compute.Add(AddRequest(x=1, y=2), timeout=TIMEOUT_S, metadata=metadata)
        assert response.sum == 3
    assert [call.result().text for _, call in (*running, *waiting)] == ["x"] * 5
    assert all(site.is_kept(call_id) for call_id in (finished, running[0][0], waiting[0][0]))


@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_deadlines_still_end_calls_after_a_step(site: Site, step_s: int) -> None:
    # It ignores its deadline: the ledger must end it.
    call_id, call = site.start("Unary", EchoRequest(act="insist", seconds=8), timeout=4.0)
    eventually(lambda: site.server.field(call_id, "state") == "RUNNING", "it runs")
    site.server.step(step_s)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(lambda: site.server.field(call_id, "state") == "EXPIRED", "the call expires")


@pytest.mark.variant
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_delayed_calls_start_when_they_are_due_after_a_step(site: Site, step_s: int) -> None:
    began, due = time.monotonic(), datetime.now(UTC) + timedelta(seconds=DELAY_S)
    work = EchoRequest(text="x")
    calls = [
        site.start("Unary", work, (START_AFTER, f"{DELAY_S}s")),
        site.start("Unary", work, (START_AT, due.isoformat())),
    ]
    for call_id, _ in calls:
        eventually(lambda named=call_id: site.server.field(named, "state") == "DELAYED", "accepted")
    site.server.step(step_s)
    assert [call.result().text for _, call in calls] == ["x", "x"]
    assert time.monotonic() - began > DELAY_S - EARLY_S
    for call_id, _ in calls:
        due_ms, queued_ms = (
            int(site.server.field(call_id, name)) for name in ("start_at", "queued_at")
        )
        assert due_ms <= queued_ms < due_ms + TIMEOUT_S * 1000


@pytest.mark.variant
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_call_without_a_caller_ends_after_its_linger_after_a_step(
    site: Site, step_s: int
) -> None:
    call_id, call = site.start("Unary", EchoRequest(act="sleep", seconds=TIMEOUT_S))
    eventually(lambda: site.server.field(call_id, "state") == "RUNNING", "it runs")
    began = time.monotonic()
    call.cancel()
    eventually(lambda: site.server.field(call_id, "watchers") == "", "the caller has left")
    site.server.step(step_s)
    eventually(lambda: site.server.field(call_id, "state") != "RUNNING", "the linger is over")
    assert site.server.field(call_id, "state") == "CANCELLED"
    assert time.monotonic() - began > LINGER_S - EARLY_S


@pytest.mark.variant
@pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S])
def test_a_cached_result_is_not_used_for_longer_after_a_step(site: Site, step_s: int) -> None:
    text = new_id()
    assert site.cached(text) == "new"
    site.server.step(step_s)
    if step_s > 0:  # the server's expiry follows its clock
        assert site.cached(text) == "new"
    else:
        assert site.cached(text) == "finished"
        eventually(lambda: site.cached(text) == "new", "its time to live is over", TIMEOUT_S)
