"""Calls per second as workers are added."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice

from bench import callers
from bench.curves import Curve
from bench.fleets import fleet
from bench.rounds import Chart, Figure, Goal, interleave
from bench.stage import Stage
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

SLEEP_S = 0.2
_CALLERS_A_WORKER = 2


@dataclass(frozen=True)
class Plan:
    """The numbers of workers, the rounds, and the calls for each worker."""

    workers: tuple[int, ...]
    rounds: int
    calls_a_worker: int


FULL = Plan((1, 2, 4, 8), rounds=3, calls_a_worker=15)
QUICK = Plan((1, 2), rounds=1, calls_a_worker=5)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """Fleets with one gateway and different numbers of workers take turns.

    Each worker has one pool process.
    """
    with ExitStack() as stack:
        rates = interleave(
            plan.rounds,
            {count: _sleeps(stack, count, plan.calls_a_worker) for count in plan.workers},
        )
    title = f"A handler that sleeps {SLEEP_S:g} s"
    curve = Curve("growth_workers", title, "calls/s", "workers", rates, linear=True)
    yield from curve.figures(Goal(0.97, at_most=False), row=12)
    yield curve.chart()


def _sleeps(stack: ExitStack, workers: int, calls_a_worker: int) -> Callable[[], float]:
    services = ["tests.echo.v1.echo_pb2"]
    started = stack.enter_context(fleet(1, workers, "tests.echo.worker", "echo", services))
    stub = EchoServiceStub(stack.enter_context(callers.channel(started.addresses[0])))
    _sleeps_per_s(stub, workers, workers)  # warm-up: a call for each worker
    return lambda: _sleeps_per_s(stub, workers, calls_a_worker * workers)


def _sleeps_per_s(stub: EchoServiceStub, workers: int, calls: int) -> float:
    request = EchoRequest(act="insist", seconds=SLEEP_S)

    def work() -> None:
        all_done(
            [lambda: stub.Unary(request, timeout=callers.TIMEOUT_S)],
            calls,
            _CALLERS_A_WORKER * workers,
        )

    return calls / callers.seconds_of(work)


def all_done(ways: Sequence[Callable[[], object]], calls: int, at_once: int) -> None:
    """Makes calls by each of `ways` in turn, with `at_once` in flight."""
    pool = ThreadPoolExecutor(at_once)
    try:
        futures = [pool.submit(way) for way in islice(cycle(ways), calls)]
        for future in futures:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
