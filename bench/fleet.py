"""One big product on a fleet: how its time falls with workers of one thread each.

All workers are on this machine, so no more of them help than it has cores.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from bench import callers, systems
from bench.rounds import Chart, Figure, Goal, Line, Series, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.ledger.keys import PRESENCE_INDEX
from tests.harness import eventually

WORKERS = (1, max(2, os.cpu_count() or 1))
_ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Plan:
    """How many rounds, and how large the product is: random, m×m of m×m."""

    rounds: int
    m: int


FULL = Plan(rounds=3, m=5000)
QUICK = Plan(rounds=1, m=4200)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """The same product by fleets of two sizes, each with a server and a gateway of its own."""
    one, many = WORKERS
    with ExitStack() as stack:
        stubs = {count: stack.enter_context(_fleet(count)) for count in WORKERS}
        runs = {str(count): _timed(stub, plan.m) for count, stub in stubs.items()}
        for run in runs.values():
            run()  # connections are made, NumPy is loaded
        found = interleave(plan.rounds, runs)
    title = f"MatMul, random {plan.m}×{plan.m} float64, workers of one thread"
    alone, together = (
        Series(f"{count} worker{'s' * (count > 1)}", found[str(count)]) for count in WORKERS
    )
    yield Figure("product_by_fleet", title, "s", together, alone, Goal(0.8))
    ideal = Series("ideal", tuple(seconds * one / many for seconds in alone.values))
    lines = (
        Line("measured", ((one, alone), (many, together))),
        Line("ideal", ((one, alone), (many, ideal)), ideal=True),
    )
    yield Chart("product_by_fleet", title, "workers", "s", lines)


def _timed(stub: ComputeServiceStub, m: int) -> Callable[[], float]:
    return partial(callers.seconds_of, partial(callers.random_product, stub, m, m))


@contextmanager
def _fleet(workers: int) -> Iterator[ComputeServiceStub]:
    """A server, a gateway, so many workers of one slot and one thread, all known to be live."""
    with ExitStack() as stack:
        backend = stack.enter_context(systems.backend())
        env = backend.product_env | _ONE_THREAD
        for _ in range(workers):
            stack.enter_context(systems.celery_worker("forebay_workers", "mat_mul", env))
        address, _ = stack.enter_context(systems.gateway(backend))
        eventually(lambda: backend.client.zcard(PRESENCE_INDEX) == workers, "all are live")
        yield ComputeServiceStub(stack.enter_context(callers.channel(address)))
