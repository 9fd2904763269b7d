"""The latency of an item, from the handler's `yield` to the caller's `next`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from bench import callers, systems
from bench.rounds import Figure, Goal, Series, quantile
from bench.stage import Stage
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

EVERY_S = 0.005
_WARM_UP_ITEMS = 20


@dataclass(frozen=True)
class Plan:
    """The number of timed streams, and of items in each."""

    rounds: int
    items: int


FULL = Plan(rounds=5, items=600)
QUICK = Plan(rounds=1, items=200)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """The latencies of items that come one by one, on a system that does nothing else."""
    with (
        systems.backend(FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]') as backend,
        systems.celery_worker("bench.stamping", "echo", backend.product_env),
        systems.gateway(backend) as (address, _),
        callers.channel(address) as channel,
    ):
        stub = EchoServiceStub(channel)
        latencies_ms(stub, _WARM_UP_ITEMS)
        streams = [latencies_ms(stub, plan.items) for _ in range(plan.rounds)]
    title = f"An item every {EVERY_S * 1000:g} ms, handler's yield to caller's next"
    for name, share, goal in (("p50", 0.5, Goal(3)), ("p99", 0.99, Goal(10))):
        series = Series(name, tuple(quantile(stream, share) for stream in streams))
        yield Figure(f"item_latency_{name}", title, "ms", series, goal=goal, row=11)


def latencies_ms(stub: EchoServiceStub, count: int) -> list[float]:
    """The latency of each item of one stream."""
    request = EchoRequest(count=count, seconds=EVERY_S)
    latencies = [
        (time.monotonic_ns() - int(response.text)) / 1e6
        for response in stub.ServerStream(request, timeout=callers.TIMEOUT_S)
    ]
    assert len(latencies) == count
    return latencies
