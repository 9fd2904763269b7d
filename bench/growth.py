"""Growth: more workers for a handler that sleeps, more gateways for one load.

A gateway that has more calls in flight has less work per call, because calls share messages,
wake-ups and round trips. So gateways are measured twice: sharing one load, of which each gets
less; and each with a load of the same size, which shows what gateways cost each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle, islice

from bench import callers, systems
from bench.cpu import cpu_ms
from bench.curves import Curve
from bench.rounds import Chart, Figure, Goal, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.ledger.keys import PRESENCE_INDEX
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

SLEEP_S = 0.2
_CALLERS_A_WORKER = 2
_CALLERS = 16
_CALLERS_A_GATEWAY = 4
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """Numbers of workers and gateways, repetitions, calls per worker, calls over all gateways."""

    workers: tuple[int, ...]
    gateways: tuple[int, ...]
    rounds: int
    calls_a_worker: int
    calls: int


FULL = Plan((1, 2, 4, 8), (1, 2, 4), rounds=3, calls_a_worker=15, calls=1000)
QUICK = Plan((1, 2), (1, 2), rounds=1, calls_a_worker=5, calls=100)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """First the workers, then the gateways."""
    workers = _workers(plan)
    yield from workers.figures(Goal(0.95, at_most=False), row=13)
    yield workers.chart()
    for gateways in _gateways(plan):
        yield from gateways.figures(Goal(1.05), row=13)
        yield gateways.chart()


def _workers(plan: Plan) -> Curve:
    """Calls per second as workers of one process each are added."""
    rates: dict[int, list[float]] = {}
    with (
        systems.backend(FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]') as backend,
        systems.gateway(backend) as (address, _),
        callers.channel(address) as channel,
        ExitStack() as stack,
    ):
        stub = EchoServiceStub(channel)
        for count in plan.workers:
            _start_workers(stack, backend, count)
            _sleeps_per_s(stub, count, count)  # each has its pool
            rates[count] = [
                _sleeps_per_s(stub, count, plan.calls_a_worker * count) for _ in range(plan.rounds)
            ]
    return Curve(
        "growth_workers",
        f"A handler that sleeps {SLEEP_S:g} s",
        "calls/s",
        "workers",
        rates,
        linear=True,
    )


def _start_workers(stack: ExitStack, backend: systems.Backend, count: int) -> None:
    """Starts workers until `count` of them are live."""
    for _ in range(count - _live_workers(backend)):
        stack.enter_context(systems.celery_worker("tests.echo.worker", "echo", backend.product_env))
    eventually(lambda: _live_workers(backend) == count, f"{count} workers are live")


def _live_workers(backend: systems.Backend) -> int:
    return int(backend.client.zcard(PRESENCE_INDEX))


def _sleeps_per_s(stub: EchoServiceStub, workers: int, calls: int) -> float:
    request = EchoRequest(act="insist", seconds=SLEEP_S)

    def work() -> None:
        _all_done(
            [lambda: stub.Unary(request, timeout=callers.TIMEOUT_S)],
            calls,
            _CALLERS_A_WORKER * workers,
        )

    return calls / callers.seconds_of(work)


def _gateways(plan: Plan) -> tuple[Curve, Curve]:
    """The CPU time of all gateways per call: sharing one load, and with a load for each."""
    with systems.backend() as backend, ExitStack() as stack:
        stack.enter_context(systems.celery_worker("forebay_workers", "add", backend.product_env))
        running = [stack.enter_context(systems.gateway(backend)) for _ in range(max(plan.gateways))]
        adds = [_add_at(stack, address) for address, _ in running]
        pids = [pid for _, pid in running]
        _all_done(adds, _WARM_UP_CALLS * len(adds), _CALLERS)

        def cost(count: int, at_once: int) -> float:
            before = cpu_ms(pids[:count])
            _all_done(adds[:count], plan.calls, at_once)
            return (cpu_ms(pids[:count]) - before) / plan.calls

        shared = {(count, _CALLERS): count for count in plan.gateways}
        each = {(count, _CALLERS_A_GATEWAY * count): count for count in plan.gateways}
        costs = interleave(plan.rounds, {load: partial(cost, *load) for load in shared | each})
    unit, what = "ms of CPU", "gateways"
    return (
        Curve(
            "growth_gateways",
            f"A durable Add, in all gateways, {_CALLERS} calls in flight",
            unit,
            what,
            {count: costs[load] for load, count in shared.items()},
        ),
        Curve(
            "growth_gateways_each",
            f"A durable Add, in all gateways, {_CALLERS_A_GATEWAY} calls in flight at each",
            unit,
            what,
            {count: costs[load] for load, count in each.items()},
        ),
    )


def _add_at(stack: ExitStack, address: str) -> Callable[[], object]:
    stub = ComputeServiceStub(stack.enter_context(callers.channel(address)))
    return lambda: callers.add(stub, durable=True)


def _all_done(ways: Sequence[Callable[[], object]], calls: int, at_once: int) -> None:
    """Makes calls through the gateways in turn, with a fixed number in flight."""
    pool = ThreadPoolExecutor(at_once)
    try:
        futures = [pool.submit(way) for way in islice(cycle(ways), calls)]
        for future in futures:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)
