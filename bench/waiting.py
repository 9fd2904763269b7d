"""Callers that wait: their memory in the gateway, and their effect on other calls."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

from bench import callers, systems
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.ledger.keys import PARTITIONS, partition_prefix
from tests.harness import environment, eventually, process

_SERVICES = '["forebay.compute.v1.compute_pb2", "tests.echo.v1.echo_pb2"]'
_QUEUE = "echo"  # no worker consumes it, so its calls wait
_WARM_UP_CALLS = 50
_OPENED_WITHIN_S = 120.0
_KB = 1e3


@dataclass(frozen=True)
class Plan:
    """The number of waiting callers, of repetitions, and of timed sums in each."""

    waiting: int
    rounds: int
    add_calls: int


FULL = Plan(waiting=5000, rounds=2, add_calls=300)
QUICK = Plan(waiting=500, rounds=1, add_calls=100)


@dataclass(frozen=True)
class Waiting:
    """A waiting call's memory in kB; Add's p50 without and with waiting calls."""

    kb: float
    alone_ms: float = 0.0
    beside_ms: float = 0.0


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Each round starts a fresh gateway and a fresh bare server."""
    with (
        systems.backend(FOREBAY_SERVICES=_SERVICES, FOREBAY_QUEUE_WAIT_S="600") as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env),
    ):
        found = interleave(
            plan.rounds,
            {
                "ours": lambda: _at_a_gateway(backend, plan),
                "bare": lambda: _at_a_bare_server(plan),
            },
        )
    title = f"{plan.waiting:,} calls that wait"
    ours, bare = found["ours"], found["bare"]
    yield Figure(
        "waiting_memory",
        title,
        "kB each",
        Series("in a gateway", tuple(one.kb for one in ours)),
        Series("in a bare grpc.aio server", tuple(one.kb for one in bare)),
        Goal(20, absolute=True),
        row=10,
    )
    yield Figure(
        "waiting_add_p50",
        title,
        "ms",
        Series("Add's p50 beside them", tuple(one.beside_ms for one in ours)),
        Series("without them", tuple(one.alone_ms for one in ours)),
        Goal(1.2),
        row=10,
    )


def _at_a_gateway(backend: systems.Backend, plan: Plan) -> Waiting:
    with systems.gateway(backend) as (address, pid), callers.channel(address) as channel:
        stub = ComputeServiceStub(channel)

        def p50(count: int = plan.add_calls) -> float:
            return callers.p50_ms(lambda: callers.add(stub, durable=False), count)

        p50(_WARM_UP_CALLS)
        alone_ms = p50()
        kb, beside_ms = _with_waiting(address, pid, plan.waiting, p50)
        eventually(lambda: _left(backend) == 0, "the ledger has heard of all")
    return Waiting(kb, alone_ms, beside_ms)


def _at_a_bare_server(plan: Plan) -> Waiting:
    with process(sys.executable, "-m", "bench.rivals.waiter", env=environment()) as server:
        address = server.wait_for(r"ready on (\S+)")[1]
        kb, _ = _with_waiting(address, server.popen.pid, plan.waiting, lambda: 0.0)
    return Waiting(kb)


def _with_waiting(
    address: str, pid: int, count: int, work: Callable[[], float]
) -> tuple[float, float]:
    """The kB of each waiting caller, and the result of `work`, which runs while they wait."""
    with _callers(address, 20):
        pass  # warm-up: objects that a server creates once exist now
    before = psutil.Process(pid).memory_info().rss
    with _callers(address, count):
        figure = work()
        grown = psutil.Process(pid).memory_info().rss - before
    return grown / count / _KB, figure


@contextmanager
def _callers(address: str, count: int) -> Iterator[None]:
    command = (sys.executable, "-m", "bench.load.waiting", address, str(count))
    with process(*command, env=environment()) as running:
        running.wait_for(r"waiting: \d+", _OPENED_WITHIN_S)
        yield


def _left(backend: systems.Backend) -> int:
    """The number of calls that are still in the queue."""
    return sum(
        int(backend.client.zcard(f"{partition_prefix(number)}:waiting:{_QUEUE}"))
        for number in range(PARTITIONS)
    )
