"""The cost of all that secures a system together, against a plain one.

The secured system has mTLS, a JWT in each call, permissions, a tenant with quotas in fair queues,
and signed messages. Each of the two has a gateway, a worker and a ledger of its own; they take
turns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc

from bench import callers, systems
from bench.cpu import family
from bench.credentials import Credentials
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate
from bench.signing import keys_file
from bench.stage import Stage
from bench.tenants import LIMITS
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.certificates import Authority, TlsFiles
from tests.identity_provider import IdentityProvider, issuer_settings

_ROW = 37
_IN_FLIGHT = 64
_ON, _OFF = "all of it", "plain"
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """The number of rounds, the duration of a load, and the calls of one caller."""

    rounds: int
    load_s: float
    calls: int


FULL = Plan(rounds=7, load_s=3.0, calls=300)
QUICK = Plan(rounds=1, load_s=0.5, calls=50)


@dataclass(frozen=True)
class _System:
    """How to load one system, and to make one call."""

    load: Callable[[], tuple[float, float]]
    """Returns the µs of CPU of a call in gateway, worker and ledger, and the calls a second."""
    add: Callable[[], object]


def measure(_: Stage, plan: Plan) -> Iterator[Figure]:
    """A saturating load, then single calls."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        secured = stack.enter_context(_secured(folder, plan))
        plain = stack.enter_context(_system({}, None, plan))
        loads = interleave(plan.rounds, {_ON: secured.load, _OFF: plain.load})
        p50 = {
            name: partial(callers.p50_ms, system.add, plan.calls)
            for name, system in ((_ON, secured), (_OFF, plain))
        }
        alone = interleave(plan.rounds, p50)
    for part, title, unit, goal in (
        (0, "Add, saturated, in gateway, worker and ledger", "µs of CPU", Goal(1.15)),
        (1, "Add, saturated", "calls/s", Goal(0.85, at_most=False)),
    ):
        ours, theirs = (
            Series(name, tuple(one[part] for one in loads[name])) for name in (_ON, _OFF)
        )
        yield Figure(f"all_secured_{part}", title, unit, ours, theirs, goal, row=_ROW)
    ours, theirs = (Series(name, alone[name]) for name in (_ON, _OFF))
    title = "Add, one caller, p50"
    yield Figure("all_secured_p50", title, "ms", ours, theirs, Goal(1.15), row=_ROW)


@contextmanager
def _secured(folder: Path, plan: Plan) -> Iterator[_System]:
    authority, provider = Authority(folder), IdentityProvider()
    server, client = authority.issue("server", "127.0.0.1"), authority.issue("client")
    jwks = folder / "jwks.json"
    jwks.write_bytes(provider.jwks())
    settings = {
        **TlsFiles(folder, server, authority.ca).variables(),
        "FOREBAY_AUTH": json.dumps({"jwt": [issuer_settings(jwks_file=str(jwks))]}),
        "FOREBAY_ROLES": json.dumps({name: ["*"] for name in ("caller", "operator")}),
        "FOREBAY_TENANTS": json.dumps({"*": LIMITS}),
        "FOREBAY_SIGNING_KEYS": str(keys_file(folder)),
    }
    credentials = Credentials(authority, client, provider.token())
    with _system(settings, credentials, plan) as system:
        yield system


@contextmanager
def _system(
    settings: Mapping[str, str], credentials: Credentials | None, plan: Plan
) -> Iterator[_System]:
    with (
        systems.backend(settings) as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env) as worker,
        systems.gateway(backend) as (address, pid),
        grpc.secure_channel(address, credentials.for_channel)
        if credentials
        else grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        metadata = (("authorization", f"Bearer {credentials.token}"),) if credentials else ()
        variables = credentials.for_load if credentials else {}
        pids = (pid, *family(worker.popen.pid), backend.server_pid)

        def add() -> None:
            request = AddRequest(x=4, y=6)
            assert stub.Add(request, timeout=callers.TIMEOUT_S, metadata=metadata).sum == 10

        for _ in range(_WARM_UP_CALLS):
            add()
        load = partial(cpu_and_rate, address, pids, _IN_FLIGHT, plan.load_s, **variables)
        yield _System(load, add)
