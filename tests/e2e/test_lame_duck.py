"""The lame-duck time of `forebay gateway`, and the signals that skip it; in one process and two."""

from __future__ import annotations

import signal
from collections.abc import Sequence

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.e2e.conftest import ROOT, Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, forebay_gateway

TIMEOUT_S = 30.0
NEVER_S = "600"
"""A lame-duck time that is over only if it is skipped."""


def is_serving(channel: grpc.Channel) -> bool:
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize(
    ("processes", "second"), [(1, signal.SIGTERM), (1, signal.SIGINT), (2, signal.SIGTERM)]
)
def test_calls_are_accepted_until_a_second_signal_skips_the_lame_duck_time(
    site: Site, processes: int, second: signal.Signals
) -> None:
    env = {**site.env, "FOREBAY_LAME_DUCK_S": NEVER_S}
    options = ["--processes", str(processes)]
    with forebay_gateway(*options, env=env, cwd=ROOT) as (gateway, address):
        channels = [grpc.insecure_channel(address, options=_own(n)) for n in range(4)]
        for channel in channels:
            eventually(lambda channel=channel: is_serving(channel), "it serves")
        gateway.popen.send_signal(signal.SIGTERM)
        for channel in channels:
            eventually(lambda channel=channel: not is_serving(channel), "health says so")
            stub = EchoServiceStub(channel)
            assert stub.Unary(EchoRequest(text="late"), timeout=TIMEOUT_S).text == "late"
        gateway.popen.send_signal(second)
        assert gateway.ended(TIMEOUT_S) == 0
        for channel in channels:
            channel.close()


def test_ctrl_c_skips_the_lame_duck_time(site: Site) -> None:
    env = {**site.env, "FOREBAY_LAME_DUCK_S": NEVER_S}
    with forebay_gateway(env=env, cwd=ROOT) as (gateway, _):
        gateway.popen.send_signal(signal.SIGINT)
        assert gateway.ended(TIMEOUT_S) == 0


def _own(number: int) -> Sequence[tuple[str, object]]:
    """A connection of its own, so that each process has some of them."""
    return (("grpc.use_local_subchannel_pool", 1), ("tests.number", number))
