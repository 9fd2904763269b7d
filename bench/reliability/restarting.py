"""The time from a Redis server's restart until calls are served again."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.compute.v1.compute_pb2 import AddRequest, FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.faults.backend import Server, server
from tests.harness import environment, eventually, forebay_gateway, worker

_DOWN_S = 3.0
_TIMEOUT_S = 60.0


def restarted(rounds: int) -> str:
    """Kills and restarts the server, which is both broker and ledger, in each of the rounds.

    Times count from the new server's start.
    """
    with ExitStack() as stack:
        redis = stack.enter_context(server())
        env = environment(FOREBAY_LEDGER_URL=redis.url)
        _, address = stack.enter_context(forebay_gateway(env=env))
        stack.enter_context(worker("-Q", "add,factorial", "--pool", "threads", env=env))
        channel = stack.enter_context(grpc.insecure_channel(address))
        stub = ComputeServiceStub(channel)
        eventually(lambda: _serving(channel) and _added(stub), "all is up")
        answering, serving, added, calculated = zip(
            *(_round(redis, channel, stub) for _ in range(rounds)), strict=True
        )
    return (
        f"{rounds} restarts after {_DOWN_S:g} s of downtime, from the server's start, "
        f"median (longest): it answers {_figures(answering)}, "
        f"health is SERVING {_figures(serving)}, "
        f"an Add is answered {_figures(added)}, a Factorial {_figures(calculated)}"
    )


def _round(redis: Server, channel: grpc.Channel, stub: ComputeServiceStub) -> tuple[float, ...]:
    redis.kill()
    eventually(lambda: not _serving(channel), "health is NOT_SERVING")
    time.sleep(_DOWN_S)
    begun = time.monotonic()
    redis.start()
    marks = [time.monotonic() - begun]
    for reached in (
        lambda: _serving(channel),
        lambda: _added(stub),
        lambda: _calculated(stub),
    ):
        eventually(reached, "it is served again")
        marks.append(time.monotonic() - begun)
    return tuple(marks)


def _serving(channel: grpc.Channel) -> bool:
    health = health_pb2_grpc.HealthStub(channel)
    answer = health.Check(  # type: ignore[attr-defined] # the stub has no types
        health_pb2.HealthCheckRequest(), timeout=_TIMEOUT_S
    )
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _added(stub: ComputeServiceStub) -> bool:
    try:
        return stub.Add(AddRequest(x=1, y=2), timeout=_TIMEOUT_S).sum == 3
    except grpc.RpcError:
        return False


def _calculated(stub: ComputeServiceStub) -> bool:
    try:
        return list(stub.Factorial(FactorialRequest(n=5), timeout=_TIMEOUT_S))[-1].digits == "120"
    except grpc.RpcError:
        return False


def _figures(seconds: tuple[float, ...]) -> str:
    return f"{statistics.median(seconds):.2f} s ({max(seconds):.2f} s)"
