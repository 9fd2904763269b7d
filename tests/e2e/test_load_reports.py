"""ORCA: gRPC's own `weighted_round_robin` moves calls away from a loaded gateway.

gRPC's clients read the reports and hide them from programs; grpclib shows them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import grpclib.client
import grpclib.exceptions
import pytest
from google.protobuf.message import Message

from forebay.compute.v1.compute_pb2 import AddRequest, AddResponse, FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_gateway.load_reports.orca_pb2 import LoadReport
from tests.conftest import Up
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, eventually, forebay_gateway, redis_server, worker

ROOT = Path(__file__).parents[2]
TRAILER = "endpoint-load-metrics-bin"
MAX_CALLS = 100
HELD = 80
WEIGHTED = {
    "loadBalancingConfig": [
        {"weighted_round_robin": {"blackoutPeriod": "0.1s", "weightUpdatePeriod": "0.1s"}}
    ]
}


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[str, str]]:
    """Two gateways that report their load, and a worker of Add; the queue `echo` has none."""
    with ExitStack() as running:
        url = running.enter_context(redis_server())
        env = environment(
            FOREBAY_LEDGER_URL=url,
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_LOAD_REPORTS="true",
            FOREBAY_MAX_CALLS=str(MAX_CALLS),
            FOREBAY_DRAIN_S="0",
        )
        running.enter_context(worker("-Q", "add", "--pool", "threads", "-c", "2", env=env))
        _, one = running.enter_context(forebay_gateway(env=env, cwd=ROOT))
        _, other = running.enter_context(forebay_gateway(env=env, cwd=ROOT))
        yield one, other


def trailers(address: str, method: str, request: Message) -> dict[str, str | bytes]:
    """The trailers of a call of ComputeService, whatever its status."""

    async def called() -> dict[str, str | bytes]:
        host, _, port = address.rpartition(":")
        async with (
            grpclib.client.Channel(host, int(port)) as channel,
            channel.request(
                f"/forebay.compute.v1.ComputeService/{method}",
                *(grpclib.const.Cardinality.UNARY_STREAM, type(request), AddResponse),
                timeout=20,
            ) as stream,
        ):
            await stream.send_message(request, end=True)
            try:
                await stream.recv_message()
                await stream.recv_trailing_metadata()
            except grpclib.exceptions.GRPCError:
                pass
            return dict(stream.trailing_metadata or {})

    return asyncio.run(called())


def report_of(address: str) -> LoadReport:
    trailer = trailers(address, "Add", AddRequest(x=1, y=2))[TRAILER]
    assert isinstance(trailer, bytes)
    return LoadReport.FromString(trailer)


@contextmanager
def loaded(address: str) -> Iterator[None]:
    """Holds calls in flight at the gateway: no worker takes them."""
    with grpc.insecure_channel(address) as channel:
        stub = EchoServiceStub(channel)
        calls = [stub.Unary.future(EchoRequest(text="held")) for _ in range(HELD)]
        eventually(
            lambda: report_of(address).utilization["calls"] >= HELD / MAX_CALLS,
            "the gateway holds the calls",
        )
        yield
        for call in calls:
            call.cancel()


@pytest.mark.parametrize(
    ("method", "request_message"),
    [("Add", AddRequest(x=1, y=2)), ("Factorial", FactorialRequest(n=10**15))],
    ids=["OK", "an error"],
)
def test_every_status_carries_a_report(
    pair: tuple[str, str], method: str, request_message: Message
) -> None:
    trailer = trailers(pair[0], method, request_message)[TRAILER]
    assert isinstance(trailer, bytes)
    assert LoadReport.FromString(trailer).application_utilization > 0


def test_a_report_fits_into_the_room_that_statuses_leave(pair: tuple[str, str]) -> None:
    with loaded(pair[0]):
        report = report_of(pair[0])
    assert len(report.SerializeToString()) < 96  # base64 makes 128 of it


def test_calls_move_away_from_a_loaded_gateway(pair: tuple[str, str]) -> None:
    target = f"ipv4:{pair[0]},{pair[1]}"
    options = [("grpc.service_config", json.dumps(WEIGHTED))]
    with loaded(pair[0]), grpc.insecure_channel(target, options=options) as channel:
        stub = ComputeServiceStub(channel)

        def share_of_the_other() -> float:
            for number in range(50):
                assert stub.Add(AddRequest(x=number, y=1), timeout=20).sum == number + 1
                time.sleep(0.002)
            loaded_rate, other_rate = (report_of(address).rps_fractional for address in pair)
            return other_rate / (loaded_rate + other_rate)

        eventually(lambda: share_of_the_other() >= 0.75, "most calls go to the other gateway")


def test_without_the_setting_there_is_no_report(up: Up) -> None:
    found = trailers(up.address, "Add", AddRequest(x=1, y=2))
    assert "forebay-call-id" in found
    assert TRAILER not in found
