"""The cost of TLS: CPU and rate of a saturated ephemeral Add, and CPU of a new connection.

Three gateways take turns: without TLS, with TLS, and with client certificates too (mTLS). One
worker and one ledger serve all three.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench import systems
from bench.cpu import cpu_ms
from bench.credentials import Credentials
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate
from bench.stage import Stage
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.certificates import Authority, TlsFiles

_IN_FLIGHT = 64
_TIMEOUT_S = 30.0
_PLAIN = "plain text"
_KINDS = (_PLAIN, "TLS", "mTLS")


@dataclass(frozen=True)
class Plan:
    """The rounds, the duration of each load, the new connections of a round, the fronts."""

    rounds: int
    load_s: float
    connections: int
    fronts: tuple[str, ...]


FULL = Plan(rounds=7, load_s=3.0, connections=200, fronts=("grpc", "native"))
QUICK = Plan(rounds=1, load_s=0.5, connections=20, fronts=("native",))


@dataclass(frozen=True)
class Gateway:
    """A gateway of one kind, and how to call it."""

    address: str
    pid: int
    credentials: Credentials


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """The costs with each front."""
    for front in plan.fronts:
        with _gateways(front) as gateways:
            calls = interleave(
                plan.rounds,
                {kind: _saturated(gateway, plan) for kind, gateway in gateways.items()},
            )
            opened = interleave(
                plan.rounds,
                {kind: _connecting(gateway, plan) for kind, gateway in gateways.items()},
            )
        for kind in _KINDS[1:]:
            key = f"{kind.lower()}_{front}"
            for part, title, unit, goal in (
                (0, "CPU of the gateway, saturated Add", "µs", Goal(1.15)),
                (1, "Add, saturated", "calls/s", Goal(0.85, at_most=False)),
            ):
                ours = Series(f"{kind}, front {front}", tuple(one[part] for one in calls[kind]))
                plain = Series(_PLAIN, tuple(one[part] for one in calls[_PLAIN]))
                yield Figure(f"{key}_{part}", title, unit, ours, plain, goal, row=25)
            ours = Series(f"{kind}, front {front}", opened[kind])
            plain = Series(_PLAIN, opened[_PLAIN])
            title = "CPU of the gateway, a new connection and a call"
            yield Figure(f"{key}_opened", title, "µs", ours, plain, row=25)


@contextmanager
def _gateways(front: str) -> Iterator[dict[str, Gateway]]:
    """A gateway of each of `_KINDS`, on one ledger with one worker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority(folder)
        server, client = authority.issue("server", "127.0.0.1"), authority.issue("client")
        backend = stack.enter_context(systems.backend(FOREBAY_FRONT=front))
        worker = systems.celery_worker("forebay_workers", "add", backend.product_env)
        stack.enter_context(worker)
        found = {}
        for kind in _KINDS:
            files = TlsFiles(folder, server, authority.ca if kind == "mTLS" else None)
            tls = {} if kind == _PLAIN else files.variables()
            env = {**backend.product_env, **tls}
            gateway = systems.gateway(replace(backend, product_env=env))
            address, pid = stack.enter_context(gateway)
            credentials = Credentials(None if kind == _PLAIN else (authority, client))
            found[kind] = Gateway(address, pid, credentials)
            _connecting(found[kind], QUICK)()  # waits for the worker
        yield found


def _saturated(gateway: Gateway, plan: Plan) -> Callable[[], tuple[float, float]]:
    """A function that makes a load; it returns the gateway's µs of CPU a call, and the rate."""
    variables = gateway.credentials.for_load()
    return lambda: cpu_and_rate(
        gateway.address, [gateway.pid], _IN_FLIGHT, plan.load_s, **variables
    )


def _connecting(gateway: Gateway, plan: Plan) -> Callable[[], float]:
    """A function that makes each call on a new connection; it returns the gateway's µs a call."""

    def cost() -> float:
        before = cpu_ms([gateway.pid])
        for _ in range(plan.connections):
            with gateway.credentials.channel(gateway.address) as channel:
                ComputeServiceStub(channel).Add(AddRequest(x=4, y=6), timeout=_TIMEOUT_S)
        return (cpu_ms([gateway.pid]) - before) * 1000 / plan.connections

    return cost
