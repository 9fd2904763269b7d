"""The latency of an item, from the handler's `yield` to the caller's `next`.

It is compared with that of a bare `grpc.aio` server, whose handler runs in the server's process.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bench import callers, rivals, systems
from bench.rounds import Figure, Goal, Series, interleave, quantile
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
    """Measures items that come one at a time, on a system that does nothing else."""
    with (
        systems.backend(FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]') as backend,
        systems.celery_worker("bench.stamping", "echo", backend.product_env),
        systems.gateway(backend) as (address, _),
        callers.channel(address) as channel,
        rivals.bare_items() as bare_address,
        callers.channel(bare_address) as bare_channel,
    ):
        stubs = {"ours": EchoServiceStub(channel), "bare": EchoServiceStub(bare_channel)}
        for stub in stubs.values():
            latencies_ms(stub, _WARM_UP_ITEMS)
        streams = interleave(
            plan.rounds,
            {name: partial(latencies_ms, stubs[name], plan.items) for name in stubs},
        )
    title = f"An item every {EVERY_S * 1000:g} ms, handler's yield to caller's next"
    for name, share, bound in (("p50", 0.5, 0.7), ("p99", 0.99, 2.0)):
        ours, bare = (
            tuple(quantile(stream, share) for stream in streams[who]) for who in ("ours", "bare")
        )
        yield Figure(
            f"item_latency_{name}",
            title,
            "ms",
            Series(name, ours),
            Series("a bare grpc.aio server", bare),
            Goal(bound, absolute=True),
            row=8,
        )


def latencies_ms(stub: EchoServiceStub, count: int) -> list[float]:
    """The latency of each item of one stream."""
    request = EchoRequest(count=count, seconds=EVERY_S)
    latencies = [
        (time.monotonic_ns() - int(response.text)) / 1e6
        for response in stub.ServerStream(request, timeout=callers.TIMEOUT_S)
    ]
    assert len(latencies) == count
    return latencies
