"""Tenants: how long one waits while another floods the queue, and what quotas cost.

A light tenant makes one call at a time, alone and while another tenant's calls fill the queue; all
calls take the same time. The cost of quotas is the p50 of an ephemeral Add: a gateway whose tenants
have limits that are never reached is compared with one without limits. Both authenticate callers.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench import callers, systems
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.echo.running import echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.harness import short_folder
from tests.tenancy.running import Tenant, Tenants, answer

_SERVICES = '["forebay.compute.v1.compute_pb2", "tests.echo.v1.echo_pb2"]'
_SLOTS = 4
_WORK = EchoRequest(act="insist", seconds=0.02)
LIMITS = {"in_flight": 1000, "per_second": 1e6, "queued": 1000, "held_bytes": 1 << 30}
"""All kinds of quotas, none of which the benchmarks reach."""
_WARM_UP_CALLS = 50
_KINDS = {"Unary": "durable", "Quick": "ephemeral"}


@dataclass(frozen=True)
class Plan:
    """The calls that the flood keeps waiting, the rounds, and the timed calls in each."""

    flood: int
    rounds: int
    light_calls: int
    add_calls: int


FULL = Plan(flood=1000, rounds=5, light_calls=40, add_calls=500)
QUICK = Plan(flood=100, rounds=1, light_calls=10, add_calls=50)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """First a gateway that knows two tenants; then two gateways, with and without quotas."""
    for method, kind in _KINDS.items():
        with _site() as (address, tenants):
            beside = interleave(plan.rounds, _light(address, tenants, method, plan))
        yield Figure(
            f"tenants_beside_a_flood_{kind}",
            f"p50 of a tenant's {kind} call of 20 ms, {_SLOTS} slots",
            "ms",
            Series(f"beside {plan.flood:,} waiting calls of another tenant", beside["beside"]),
            Series("alone", beside["alone"]),
            Goal(3.0),
            row=26,
        )
    with _quotas() as gateways:
        found = interleave(
            plan.rounds,
            {name: partial(callers.p50_ms, call, plan.add_calls) for name, call in gateways},
        )
    yield Figure(
        "tenants_quotas_p50",
        "p50 of an ephemeral Add of a known tenant",
        "ms",
        Series("with all quotas", found["quotas"]),
        Series("without", found["none"]),
        Goal(1.05),
        row=27,
    )


@contextmanager
def _site() -> Iterator[tuple[str, Tenants]]:
    """A gateway and an echo worker; the address, and the tenants that the gateway knows."""
    with ExitStack() as stack:
        folder = stack.enter_context(short_folder())
        tenants = Tenants(folder, "flood", "light")
        settings = tenants.settings(any={"weight": 1})
        backend = stack.enter_context(systems.backend(settings, FOREBAY_SERVICES=_SERVICES))
        stack.enter_context(echo_worker(backend.product_env, slots=_SLOTS))
        address, _ = stack.enter_context(systems.gateway(backend))
        yield address, tenants


def _light(
    address: str, tenants: Tenants, method: str, plan: Plan
) -> dict[str, Callable[[], float]]:
    def p50() -> float:
        with tenants.calling("light", address) as light:

            def call() -> None:
                answer(method, light.start(method, _WORK))

            call()
            return callers.p50_ms(call, plan.light_calls)

    def beside() -> float:
        with tenants.calling("flood", address) as flood, _flood(flood, method, plan.flood):
            return p50()

    return {"alone": p50, "beside": beside}


@contextmanager
def _flood(tenant: Tenant, method: str, waiting: int) -> Iterator[None]:
    """Keeps `waiting` calls of the tenant in flight until the block is left."""
    is_over = threading.Event()
    calls: set[Any] = set()

    def start() -> None:
        call = tenant.start(method, _WORK)
        calls.add(call)
        call.add_done_callback(next_one)

    def next_one(call: Any) -> None:
        calls.discard(call)
        if not is_over.is_set():
            start()

    for _ in range(waiting):
        start()
    try:
        yield
    finally:
        is_over.set()
        for call in tuple(calls):
            call.cancel()


@contextmanager
def _quotas() -> Iterator[list[tuple[str, Callable[[], None]]]]:
    """Functions that make an ephemeral Add at a gateway with quotas, and at one without."""
    with ExitStack() as stack:
        folder: Path = stack.enter_context(short_folder())
        tenants = Tenants(folder, "acme")
        backend = stack.enter_context(systems.backend(FOREBAY_SERVICES=_SERVICES))
        stack.enter_context(systems.celery_worker("forebay_workers", "add", backend.product_env))
        gateways = []
        for name, limits in (("quotas", LIMITS), ("none", {"weight": 1})):
            settings = tenants.settings(acme=limits)
            backend.product_env.update(settings)
            address, _ = stack.enter_context(systems.gateway(backend))
            stub = ComputeServiceStub(stack.enter_context(callers.channel(address)))
            gateways.append((name, _add(stub, tenants.token("acme"))))
        for _, call in gateways:
            callers.p50_ms(call, _WARM_UP_CALLS)
        yield gateways


def _add(stub: ComputeServiceStub, token: str) -> Callable[[], None]:
    def add() -> None:
        stub.Add(AddRequest(x=1, y=2), metadata=(("authorization", f"Bearer {token}"),))

    return add
