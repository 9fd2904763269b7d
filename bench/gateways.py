"""A call's CPU time as gateways are added: with a load for each gateway, and with one for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from bench import callers
from bench.cpu import cpu_ms
from bench.curves import Curve
from bench.fleets import Fleet, fleet
from bench.growth import all_done
from bench.rounds import Chart, Figure, Goal, interleave
from bench.saturated import grpc_load
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

_IN_FLIGHT = 16
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """The numbers of gateways, the rounds, a load's duration, and the calls of the shared load."""

    gateways: tuple[int, ...]
    rounds: int
    load_s: float
    calls: int


FULL = Plan((1, 2, 4), rounds=5, load_s=1.5, calls=1000)
QUICK = Plan((1, 2), rounds=1, load_s=0.5, calls=100)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure | Chart]:
    """Fleets with as many workers as gateways take turns at durable calls."""
    with ExitStack() as stack:
        fleets = {
            count: stack.enter_context(fleet(count, count, "forebay_workers", "add"))
            for count in plan.gateways
        }
        each: dict[int, Callable[[], float]] = {
            count: _with_loads(stack, fleets[count], plan.load_s) for count in plan.gateways
        }
        largest = fleets[max(plan.gateways)]
        shared = {count: _sharing(stack, largest, count, plan.calls) for count in plan.gateways}
        own_loads = interleave(plan.rounds, each)
        one_load = interleave(plan.rounds, shared)
    title = f"A durable Add, in all gateways, {_IN_FLIGHT} calls in flight"
    unit, what = "ms of CPU", "gateways"
    own = Curve("growth_gateways_each", f"{title} and a worker at each", unit, what, own_loads)
    one = Curve("growth_gateways", f"{title} in total", unit, what, one_load)
    yield from own.figures(Goal(1.1), row=11)
    yield from one.figures(None, row=11)
    yield own.chart()
    yield one.chart()


def _with_loads(stack: ExitStack, fleet: Fleet, seconds: float) -> Callable[[], float]:
    """A function that makes a load for each gateway, all at once; it returns a call's CPU ms."""
    pool = stack.enter_context(ThreadPoolExecutor(len(fleet.addresses)))

    def cost() -> float:
        before = cpu_ms(fleet.pids)
        loads = pool.map(
            lambda address: grpc_load(address, "durable", _IN_FLIGHT, seconds), fleet.addresses
        )
        calls = sum(load.calls for load in loads)
        return (cpu_ms(fleet.pids) - before) / calls

    cost()
    return cost


def _sharing(stack: ExitStack, fleet: Fleet, gateways: int, calls: int) -> Callable[[], float]:
    """A function that spreads a load over the first `gateways`; it returns a call's CPU ms."""
    pids = fleet.pids[:gateways]
    adds = [_add_at(stack, address) for address in fleet.addresses[:gateways]]

    def cost(calls: int = calls) -> float:
        before = cpu_ms(pids)
        all_done(adds, calls, _IN_FLIGHT)
        return (cpu_ms(pids) - before) / calls

    cost(_WARM_UP_CALLS)
    return cost


def _add_at(stack: ExitStack, address: str) -> Callable[[], object]:
    stub = ComputeServiceStub(stack.enter_context(callers.channel(address)))
    return lambda: callers.add(stub, durable=True)
