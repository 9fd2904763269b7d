"""CPU and memory of a gateway without calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import psutil

from bench import callers, systems
from bench.cpu import cpu_ms
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

_MB = 1e6
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and their duration."""

    rounds: int
    seconds: float


FULL = Plan(rounds=5, seconds=4.0)
QUICK = Plan(rounds=1, seconds=2.0)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """A gateway that has served calls and a bare server that has served none take turns."""
    with (
        systems.backend() as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env),
        systems.gateway(backend) as (address, pid),
        callers.channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        callers.p50_ms(lambda: callers.add(stub, durable=False), _WARM_UP_CALLS)
        pids = {"ours": (pid,), "bare": stage.echo.pids}
        shares = interleave(
            plan.rounds, {name: _cpu_percent(pids[name], plan.seconds) for name in pids}
        )
        memory = {name: tuple(map(_resident_mb, pids[name])) for name in pids}
    title, server = "An idle gateway", "a bare grpc.aio server"
    yield Figure(
        "idle_cpu",
        title,
        "% of a core",
        Series("CPU", shares["ours"]),
        Series(server, shares["bare"]),
        Goal(0.3, absolute=True),
        row=13,
    )
    yield Figure(
        "idle_memory",
        title,
        "MB",
        Series("memory", memory["ours"]),
        Series(server, memory["bare"]),
        Goal(60, absolute=True),
        row=13,
    )


def _cpu_percent(pids: Sequence[int], seconds: float) -> Callable[[], float]:
    def share() -> float:
        before = cpu_ms(pids)
        begun = time.perf_counter()
        time.sleep(seconds)
        return (cpu_ms(pids) - before) / (time.perf_counter() - begun) / 10

    return share


def _resident_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / _MB)
