"""Health of the gateway and of a service, while backends run, freeze, die and return."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from forebay.rpc_errors import of_rpc_error
from forebay_backends.settings import Settings
from forebay_gateway.fleet.health_check import HealthCheck
from forebay_gateway.server.methods import load_methods
from forebay_gateway.testing.gateway_thread import gateway_in_thread
from tests.harness import (
    answers,
    environment,
    eventually,
    forebay_gateway,
    free_port,
    process,
    redis_binary,
    redis_server,
    short_folder,
)
from tests.scraping import metric

TIMEOUT_S = 30.0
SERVICE = "forebay.compute.v1.ComputeService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


@pytest.mark.parametrize("service", ["", SERVICE])
def test_the_health_is_serving(channel: grpc.Channel, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    assert HealthStub(channel).Check(request, timeout=TIMEOUT_S).status == SERVING
    with watching(channel, service) as statuses:
        assert next(statuses) == SERVING


def test_the_health_of_an_unknown_service_is_not_found(channel: grpc.Channel) -> None:
    request = health_pb2.HealthCheckRequest(service="no.such.Service")
    with pytest.raises(grpc.RpcError) as raised:
        HealthStub(channel).Check(request, timeout=TIMEOUT_S)
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_watching_an_unknown_service_reports_service_unknown(channel: grpc.Channel) -> None:
    with watching(channel, "no.such.Service") as statuses:
        assert next(statuses) == SERVICE_UNKNOWN


def test_all_statuses_are_listed(channel: grpc.Channel) -> None:
    listed = HealthStub(channel).List(health_pb2.HealthListRequest(), timeout=TIMEOUT_S)
    assert {name: answer.status for name, answer in listed.statuses.items()} == {
        "": SERVING,
        SERVICE: SERVING,
        "google.longrunning.Operations": SERVING,
        "forebay.v1.CallService": SERVING,
    }


@pytest.mark.parametrize("method", ["Check", "Watch", "List"])
def test_garbage_is_an_invalid_argument(channel: grpc.Channel, method: str) -> None:
    call = channel.stream_stream(f"/grpc.health.v1.Health/{method}")
    with pytest.raises(grpc.RpcError) as raised:
        next(call(iter([b"\xff\xff\xff"]), timeout=TIMEOUT_S))
    error = of_rpc_error(raised.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


@pytest.mark.parametrize("stopped", ["ledger", "broker"])
def test_health_follows_a_backend_that_freezes(stopped: str) -> None:
    with redis_server() as ledger, redis_server() as broker:
        admin = f"127.0.0.1:{free_port()}"
        arguments = ("--ledger-url", ledger, "--broker-url", broker, "--admin-listen", admin)
        with (
            forebay_gateway(*arguments, env=environment()) as (_, address),
            open_to(address) as watched,
        ):
            watched.wait_for(SERVING)
            assert reached(admin) == {"ledger": 1, "broker": 1}
            with frozen({"ledger": ledger, "broker": broker}[stopped]):
                watched.wait_for(NOT_SERVING)
                assert reached(admin) == {"ledger": 1, "broker": 1, stopped: 0}
            watched.wait_for(SERVING)
            assert reached(admin) == {"ledger": 1, "broker": 1}


def reached(admin: str) -> dict[str, float]:
    """The gauges on which two alerts rest."""
    return {name: sum(metric(admin, f"forebay_{name}_up")) for name in ("ledger", "broker")}


def test_health_follows_a_ledger_that_is_killed_and_comes_back() -> None:
    with short_folder() as folder:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        with contextlib.ExitStack() as first:
            first.enter_context(ledger_on(port, folder))
            with (
                forebay_gateway("--ledger-url", url, env=environment()) as (_, address),
                open_to(address) as watched,
            ):
                watched.wait_for(SERVING)
                first.close()
                watched.wait_for(NOT_SERVING)
                with ledger_on(port, folder):
                    watched.wait_for(SERVING)


def test_a_gateway_is_not_serving_until_its_ledger_starts() -> None:
    with short_folder() as folder:
        port = free_port()
        url = f"redis://127.0.0.1:{port}/0"
        with (
            forebay_gateway("--ledger-url", url, env=environment()) as (_, address),
            open_to(address) as watched,
        ):
            watched.wait_for(NOT_SERVING)
            with ledger_on(port, folder):
                watched.wait_for(SERVING)


def test_a_gateway_that_is_ready_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    real = HealthCheck.check

    async def slow_check(self: HealthCheck) -> None:
        await asyncio.sleep(0.3)
        await real(self)

    monkeypatch.setattr(HealthCheck, "check", slow_check)
    with redis_server() as url:
        settings = Settings(ledger_url=url, listen="127.0.0.1:0")
        with (
            gateway_in_thread(settings, load_methods(settings)) as address,
            grpc.insecure_channel(address) as channel,
        ):
            answer = HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    assert answer.status == SERVING


def test_a_gateway_that_stops_first_reports_not_serving() -> None:
    with (
        redis_server() as url,
        forebay_gateway("--ledger-url", url, env=environment()) as (gateway, address),
    ):
        with open_to(address) as watched:
            watched.wait_for(SERVING)
            gateway.popen.send_signal(signal.SIGTERM)
            watched.wait_to_hear(NOT_SERVING)  # and no Check: new calls are refused by now
        assert gateway.popen.wait(TIMEOUT_S) == 0


class Watched:
    """The health of the gateway and of ComputeService, recorded by Watch."""

    def __init__(self, channel: grpc.Channel, statuses: list[Iterator[int]]) -> None:
        self._channel = channel
        self._statuses = statuses

    def wait_to_hear(self, status: int) -> None:
        """Returns when both streams have reported that status."""
        for statuses in self._statuses:
            assert status in statuses, "the stream ended first"

    def wait_for(self, status: int) -> None:
        """Returns when both have that status, by Watch and by Check."""
        self.wait_to_hear(status)
        for service in ("", SERVICE):
            request = health_pb2.HealthCheckRequest(service=service)
            assert HealthStub(self._channel).Check(request, timeout=TIMEOUT_S).status == status


@contextlib.contextmanager
def open_to(address: str) -> Iterator[Watched]:
    """The health service at an address."""
    with (
        grpc.insecure_channel(address) as channel,
        watching(channel, "") as overall,
        watching(channel, SERVICE) as service,
    ):
        yield Watched(channel, [overall, service])


@contextlib.contextmanager
def watching(channel: grpc.Channel, service: str) -> Iterator[Iterator[int]]:
    """The statuses that Watch reports, as they arrive."""
    request = health_pb2.HealthCheckRequest(service=service)
    stream = HealthStub(channel).Watch(request, timeout=2 * TIMEOUT_S)
    try:
        yield (response.status for response in stream)
    finally:
        stream.cancel()


@contextlib.contextmanager
def frozen(url: str) -> Iterator[None]:
    """Stops the process of the Redis at the URL; its connections stay open."""
    with contextlib.closing(redis.Redis.from_url(url)) as client:
        pid = client.info("server")["process_id"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def ledger_on(port: int, folder: Path) -> Iterator[None]:
    """A Redis server on the port, killed at the end of the block."""
    command = [redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with process(*command, "--save", "", "--appendonly", "yes", env=environment()) as server:
        with contextlib.closing(redis.Redis(port=port)) as client:
            eventually(lambda: answers(client), "the Redis server answers")
        try:
            yield
        finally:
            server.stop(signal.SIGKILL)
