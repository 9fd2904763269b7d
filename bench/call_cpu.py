"""The CPU time of an ephemeral call under a saturating load: in all processes, and by process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from bench.cpu import cpu_ms
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import grpc_load
from bench.stage import Stage

_LOAD = "the load"


@dataclass(frozen=True)
class Plan:
    """The number of rounds, their duration, and the number of calls in flight."""

    rounds: int
    load_s: float
    in_flight: int


FULL = Plan(rounds=5, load_s=2.0, in_flight=64)
QUICK = Plan(rounds=1, load_s=0.5, in_flight=64)

Parts = Mapping[str, Sequence[int]]
"""Process ids by the part of the system that they belong to, such as "the gateway"."""


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """`forebay up` and a bare echo take turns."""
    contenders = {
        "ours": _cost(stage.address, "ephemeral", parts_of(stage), plan),
        "echo": _cost(stage.echo.address, "echo", {"the server": stage.echo.pids}, plan),
    }
    costs = interleave(plan.rounds, contenders)
    title = f"CPU of an ephemeral Add, {plan.in_flight} in flight"
    ours, echo = (tuple(sum(cost.values()) for cost in costs[name]) for name in ("ours", "echo"))
    bare = Series("a bare grpc.aio echo and the load", echo)
    goal = Goal(0.15, absolute=True)
    yield Figure("add_cpu", title, "ms", Series("all processes", ours), bare, goal, row=7)
    for number, part in enumerate(costs["ours"][0]):
        series = Series(part, tuple(cost[part] for cost in costs["ours"]))
        yield Figure(f"add_cpu_{number}", title, "ms", series, row=7)


def parts_of(stage: Stage) -> Parts:
    """The processes of `forebay up`, and the ledger's server."""
    workers = psutil.Process(stage.gateway_pid).children()
    children = [child for worker in workers for child in worker.children(recursive=True)]
    return {
        "the gateway": (stage.gateway_pid,),
        "the workers' main processes": [worker.pid for worker in workers],
        "the pool children": [child.pid for child in children],
        "the ledger": (stage.backend.server_pid,),
    }


def _cost(address: str, kind: str, parts: Parts, plan: Plan) -> Callable[[], dict[str, float]]:
    """A function that makes a load; it returns a call's CPU ms in each part, and in the load."""

    def cost() -> dict[str, float]:
        before = {part: cpu_ms(pids) for part, pids in parts.items()}
        load = grpc_load(address, kind, plan.in_flight, plan.load_s)
        spent = {part: (cpu_ms(pids) - before[part]) / load.calls for part, pids in parts.items()}
        return {**spent, _LOAD: load.cpu_us / 1000}

    cost()  # warm-up: earlier calls' run times determine the sizes of batches
    return cost
