"""Celery's pools: saturated ephemeral calls on workers of one slot, and the CPU time of a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from bench import callers, systems
from bench.cpu import cpu_ms, family
from bench.rounds import Figure, Series, interleave
from bench.saturated import grpc_load
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

POOLS = ("prefork", "threads", "solo")
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """The rounds, a load's duration and calls in flight, and the calls of a single caller."""

    rounds: int
    load_s: float
    in_flight: int
    calls: int


FULL = Plan(rounds=5, load_s=1.5, in_flight=64, calls=200)
QUICK = Plan(rounds=1, load_s=0.5, in_flight=64, calls=50)


@dataclass(frozen=True)
class Found:
    """Calls a second, a call's CPU ms in the worker's processes, and one caller's p50 in ms."""

    rate: float
    cpu_ms: float
    p50_ms: float


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Systems that differ in the worker's pool take turns; prefork, the default, is the rival."""
    with ExitStack() as stack:
        found = interleave(plan.rounds, {pool: _system(stack, pool, plan) for pool in POOLS})
    in_flight = f"Add, {plan.in_flight} in flight, ephemeral"
    for key, title, unit, read in (
        ("rate", in_flight, "calls/s", lambda one: one.rate),
        ("cpu", f"{in_flight}: CPU of the worker's processes", "ms", lambda one: one.cpu_ms),
        ("p50", "Add, one caller, p50, ephemeral", "ms", lambda one: one.p50_ms),
    ):
        series = {pool: Series(f"--pool {pool}", tuple(map(read, found[pool]))) for pool in POOLS}
        default, *others = POOLS
        for pool in others:
            figure_key = f"pool_{pool}_{key}"
            yield Figure(figure_key, title, unit, series[pool], series[default], row=21)


def _system(stack: ExitStack, pool: str, plan: Plan) -> Callable[[], Found]:
    backend = stack.enter_context(systems.backend())
    worker = stack.enter_context(
        systems.celery_worker("forebay_workers", "add", backend.product_env, pool=pool)
    )
    address, _ = stack.enter_context(systems.gateway(backend))
    stub = ComputeServiceStub(stack.enter_context(callers.channel(address)))

    def p50_ms(calls: int = plan.calls) -> float:
        return callers.p50_ms(lambda: callers.add(stub, durable=False), calls)

    p50_ms(_WARM_UP_CALLS)
    pids = family(worker.popen.pid)

    def found() -> Found:
        before = cpu_ms(pids)
        load = grpc_load(address, "ephemeral", plan.in_flight, plan.load_s)
        spent = cpu_ms(pids) - before
        return Found(load.rate, spent / load.calls, p50_ms())

    return found
