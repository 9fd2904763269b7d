"""A running system to be fuzzed, with checks that it still works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import psutil
import redis
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, short_folder, worker

RSS_SLACK_BYTES = 48 << 20
"""How far the gateway's memory may stay above its level before: the allocator keeps some of
what a burst took, and gRPC its arenas; a leak of 20 KB a connection over 2,000 is more."""
FDS_SLACK = 8
MOST_LEDGER_FDS = 80
"""The pool's 64, pub/sub, and some pairs of sockets that event loops wake by."""
_CHECKS = """{"forebay.compute.v1.ComputeService.Factorial": {"max_n": 2000},
"forebay.compute.v1.ComputeService.MatMul": {"max_matrix_bytes": 100000}}"""
_MADE_BY_THE_CLIENT = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
_TRACES = re.compile(r"Traceback|File \"|\.py\b|Error\(|/tmp/|redis://|unix:")


@dataclass
class Fuzzed:
    """A gateway of both services, and their workers."""

    address: str
    gateway: Process
    server: redis.Redis
    channel: grpc.Channel
    process: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.process = psutil.Process(self.gateway.popen.pid)

    def works(self) -> None:
        """Whether the same process answers calls of both kinds, and reports SERVING."""
        assert self.gateway.popen.poll() is None, self.gateway.output
        request = AddRequest(x=4, y=6)
        add = ComputeServiceStub(self.channel).Add(request, timeout=30, wait_for_ready=True)
        assert add.sum == 10
        echo = EchoServiceStub(self.channel).Unary(EchoRequest(text="x"), timeout=30)
        assert echo.text == "x"
        health = health_pb2_grpc.HealthStub(self.channel)  # type: ignore[no-untyped-call]
        checked = health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        assert checked.status == health_pb2.HealthCheckResponse.SERVING

    def answers(self) -> bool:
        """Whether a call is answered at this moment."""
        try:
            return bool(ComputeServiceStub(self.channel).Add(AddRequest(x=1), timeout=30).sum)
        except grpc.RpcError:
            return False

    def warm_up(self) -> None:
        """Makes single and concurrent calls, so that one-time allocations are done."""
        for _ in range(20):
            self.works()
        stub = EchoServiceStub(self.channel)
        calls = [stub.Unary.future(EchoRequest(text="x"), timeout=30) for _ in range(200)]
        assert all(call.result().text == "x" for call in calls)

    @contextmanager
    def unharmed(self, slack: int = RSS_SLACK_BYTES) -> Iterator[None]:
        """Fails if it does not work after the block, or has not released memory and descriptors."""
        self.works()
        rss, fds = self.rss, self.fds
        yield
        self.works()
        eventually(lambda: self.fds <= fds + FDS_SLACK, f"{fds} fds come back")
        assert self.ledger_fds <= MOST_LEDGER_FDS
        eventually(lambda: self.rss <= rss + slack, f"memory comes back to {rss >> 20} MB")

    @property
    def rss(self) -> int:
        """The resident memory of the gateway's process, in bytes."""
        return int(self.process.memory_info().rss)

    @property
    def fds(self) -> int:
        """Its file descriptors, except the ledger's, whose pool grows to its limit and stays."""
        return int(self.process.num_fds()) - self.ledger_fds

    @property
    def ledger_fds(self) -> int:
        """Its connections to the ledger, which is on a Unix socket, and asyncio's own pair."""
        return len(self.process.net_connections("unix"))

    def ending(
        self, path: str, requests: list[bytes], metadata: Any = (), timeout: float = 1.0
    ) -> str:
        """Makes a call with raw bytes; returns its code's name. Fails for an improper answer."""
        call = self.channel.stream_stream(path)
        try:
            for _ in call(iter(requests), timeout=timeout, metadata=metadata):
                pass
        except grpc.RpcError as raised:
            return self._proper(path, raised)
        return "OK"

    def _proper(self, path: str, raised: Any) -> str:
        error = of_rpc_error(raised)
        assert not _TRACES.search(error.message), error.message
        assert error.reason != "INTERNAL_FAULT", error.message
        if raised.code() not in _MADE_BY_THE_CLIENT and not path.startswith("/grpc."):
            infos = [
                detail
                for detail in (error.status.details if error.status else ())
                if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
            ]
            assert len(infos) == 1, (path, error.code_name, error.message)
        return error.code_name


def ended(call: Any) -> str:
    """Reads a stream to its end, and returns its code's name; fails if it shows a traceback."""
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        assert not _TRACES.search(call.details() or ""), call.details()
    return str(call.code().name)


@contextmanager
def fuzzed_system() -> Iterator[Fuzzed]:
    """The system after its warm-up."""
    with short_folder() as folder:
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2", "forebay.compute.v1.compute_pb2"]',
            FOREBAY_CHECKS=_CHECKS,
            FOREBAY_LINGER_S="0.1",
            FOREBAY_WINDOW_BYTES="1000000",
            FOREBAY_RUN_TIME_S="10",  # a detached call that sleeps forever would hold its worker
        )
        queues = ["-Q", "add,factorial,mat_mul", "--pool", "threads", "-c", "4"]
        with (
            echo_gateway(env) as (gateway, address),
            echo_worker(env, slots=32),
            worker(*queues, env=env),
            grpc.insecure_channel(address) as channel,
        ):
            server = redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock")
            system = Fuzzed(address, gateway, server, channel)
            system.warm_up()
            yield system
            server.close()
