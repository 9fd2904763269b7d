"""Saturated Add with one process and with two on the same port: a gateway and a bare server.

All processes share the machine's cores with the load, and gateways also with a worker and the
ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench import rivals, systems
from bench.rounds import Figure, Series, interleave
from bench.saturated import grpc_load
from bench.stage import Stage

PROCESSES = (1, 2)


@dataclass(frozen=True)
class Plan:
    """The number of rounds, their duration, and the number of calls in flight."""

    rounds: int
    load_s: float
    in_flight: Sequence[int]


FULL = Plan(rounds=3, load_s=1.5, in_flight=(64, 256))
QUICK = Plan(rounds=1, load_s=0.5, in_flight=(64,))


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Servers of one process and of two take turns."""
    with ExitStack() as stack:
        backend = stack.enter_context(systems.backend())
        stack.enter_context(systems.celery_worker("forebay_workers", "add", backend.product_env))
        servers: dict[str, dict[int, str]] = {"ephemeral": {}, "echo": {}}
        for number in PROCESSES:
            gateway = systems.gateway(backend, processes=number)
            servers["ephemeral"][number] = stack.enter_context(gateway)[0]
            servers["echo"][number] = stack.enter_context(rivals.echo(processes=number)).address
        for in_flight in plan.in_flight:
            yield from _figures(servers, in_flight, plan)


def _figures(servers: dict[str, dict[int, str]], in_flight: int, plan: Plan) -> Iterator[Figure]:
    runs = {
        (kind, number): _rate(address, kind, in_flight, plan.load_s)
        for kind, addresses in servers.items()
        for number, address in addresses.items()
    }
    rates = interleave(plan.rounds, runs)
    for kind, name in (("ephemeral", "a gateway"), ("echo", "a bare grpc.aio echo")):
        one, many = (
            Series(f"{name} of {number} process{'es' * (number > 1)}", rates[kind, number])
            for number in PROCESSES
        )
        key, title = f"processes_{kind}_{in_flight}", f"Add, {in_flight} in flight, ephemeral"
        yield Figure(key, title, "calls/s", many, one, row=22)


def _rate(address: str, kind: str, in_flight: int, seconds: float) -> Callable[[], float]:
    return lambda: grpc_load(address, kind, in_flight, seconds).rate
