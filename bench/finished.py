"""The cost of a durable call as the ledger holds more and more finished calls."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from bench import callers, systems
from bench.cpu import cpu_ms, family
from bench.curves import Curve
from bench.filling import fill
from bench.rounds import Chart, Figure, Goal, interleave
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CALL_ID
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.inspection import delete

MODELS = tuple(CallKey(f"model-{number}") for number in range(100))
"""Each ledger's first finished calls, some in every partition; all others are copies of them."""
_WARM_UP_CALLS = 50
_UNLIMITED_BYTES = 1 << 50


@dataclass(frozen=True)
class Plan:
    """The numbers of finished calls (the first is that of the models), rounds, and timed calls."""

    held: tuple[int, ...]
    rounds: int
    calls: int


FULL = Plan(held=(100, 10_000, 1_000_000), rounds=7, calls=200)
QUICK = Plan(held=(100, 10_000), rounds=1, calls=100)


@dataclass(frozen=True)
class Cost:
    """The CPU time of gateway, worker and ledger for one call, and the call's median time."""

    cpu_ms: float
    p50_ms: float


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """Systems with different numbers of finished calls take turns."""
    with ExitStack() as stack:
        systems_by_held = {
            held: stack.enter_context(_system_with(held, plan.calls)) for held in plan.held
        }
        costs = interleave(plan.rounds, systems_by_held)
    for curve in (
        _curve("cpu", "gateway, worker and ledger", "ms of CPU", _cpu_ms, costs),
        _curve("p50", "p50", "ms", _p50_ms, costs),
    ):
        yield from curve.figures(Goal(1.1), row=14)
        yield curve.chart(log_x=True)


def _curve(
    key: str,
    what: str,
    unit: str,
    read: Callable[[Cost], float],
    costs: Mapping[int, Sequence[Cost]],
) -> Curve:
    return Curve(
        f"finished_{key}",
        f"A durable Add, {what}, beside finished calls",
        unit,
        "finished calls",
        {held: [read(cost) for cost in rounds] for held, rounds in costs.items()},
    )


def _cpu_ms(cost: Cost) -> float:
    return cost.cpu_ms


def _p50_ms(cost: Cost) -> float:
    return cost.p50_ms


@contextmanager
def _system_with(held: int, calls: int) -> Iterator[Callable[[], Cost]]:
    """A system whose ledger holds `held` finished calls; yields a function that measures it."""
    with (
        systems.backend(FOREBAY_RETENTION_BYTES=str(_UNLIMITED_BYTES)) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env) as worker,
        systems.gateway(backend) as (address, gateway_pid),
        callers.channel(address) as channel,
        closing(BlockingLedger(backend.product_env["FOREBAY_LEDGER_URL"])) as ledger,
    ):
        stub = ComputeServiceStub(channel)
        for model in MODELS:
            _add(stub, model)
        fill(backend.client, MODELS, held - len(MODELS))
        pids = (gateway_pid, *family(worker.popen.pid), backend.server_pid)

        def cost(calls: int = calls) -> Cost:
            names = [CallKey(str(uuid.uuid4())) for _ in range(calls)]
            remaining = iter(names)
            before = cpu_ms(pids)
            p50 = callers.p50_ms(lambda: _add(stub, next(remaining)), calls)
            spent = cpu_ms(pids) - before
            ledger.run_all([delete(name) for name in names])
            return Cost(spent / calls, p50)

        cost(_WARM_UP_CALLS)
        yield cost


def _add(stub: ComputeServiceStub, call: CallKey) -> None:
    response = stub.Add(
        pb.AddRequest(x=4, y=6), timeout=callers.TIMEOUT_S, metadata=((CALL_ID, call.id),)
    )
    assert response.sum == 10
