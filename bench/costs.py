"""The costs of an ephemeral Add: CPU and rate under a saturating load, and one caller's time.

Contenders are gateways, each with its worker and ledger, that are called with some credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from bench import callers
from bench.credentials import Credentials
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

PLAIN = "plain"
_IN_FLIGHT = 64
_WARM_UP_CALLS = 50
_CPU, _RATE, _P50 = Goal(1.15), Goal(0.85, at_most=False), Goal(1.15)


@dataclass(frozen=True)
class Plan:
    """The number of rounds, the duration of a load, and the calls of one caller."""

    rounds: int
    load_s: float
    calls: int


FULL = Plan(rounds=7, load_s=3.0, calls=300)
QUICK = Plan(rounds=1, load_s=0.5, calls=50)


@dataclass(frozen=True)
class Contender:
    """How to measure one contender."""

    load: Callable[[], tuple[float, float]]
    """Returns the µs of CPU of a call in gateway, worker and ledger, and the calls a second."""
    p50_ms: Callable[[], float]
    """Returns the median time of one caller's calls."""


@contextmanager
def contender(
    address: str, pids: Callable[[], Collection[int]], credentials: Credentials, plan: Plan
) -> Iterator[Contender]:
    """The gateway at the address, whose first call waits until the worker is live.

    `pids` are then the processes of gateway, worker and ledger.
    """
    with credentials.channel(address) as channel:
        stub = ComputeServiceStub(channel)

        def p50_ms(calls: int) -> float:
            metadata = iter([credentials.metadata() for _ in range(calls)])

            def add() -> None:
                request = AddRequest(x=4, y=6)
                given = next(metadata)
                assert stub.Add(request, timeout=callers.TIMEOUT_S, metadata=given).sum == 10

            return callers.p50_ms(add, calls)

        def load() -> tuple[float, float]:
            variables = credentials.for_load()
            return cpu_and_rate(address, pids(), _IN_FLIGHT, plan.load_s, **variables)

        p50_ms(_WARM_UP_CALLS)
        yield Contender(load, partial(p50_ms, plan.calls))


def against_plain(
    key: str,
    contenders: Mapping[str, Contender],
    plan: Plan,
    *,
    row: int,
    goalless: Collection[str] = (),
) -> Iterator[Figure]:
    """The figures of each contender against the one named `PLAIN`; they take turns.

    `key` begins the figures' keys. The contenders `goalless` have no goals.
    """
    loads = interleave(plan.rounds, {name: one.load for name, one in contenders.items()})
    alone = interleave(plan.rounds, {name: one.p50_ms for name, one in contenders.items()})
    found = {
        name: {
            "cpu": tuple(cpu for cpu, _ in loads[name]),
            "rate": tuple(rate for _, rate in loads[name]),
            "p50": alone[name],
        }
        for name in contenders
    }
    plain = found.pop(PLAIN)
    for number, (name, values) in enumerate(found.items()):
        for part, title, unit, goal in (
            ("cpu", "Add, saturated, in gateway, worker and ledger", "µs of CPU", _CPU),
            ("rate", "Add, saturated", "calls/s", _RATE),
            ("p50", "Add, one caller, p50", "ms", _P50),
        ):
            ours, theirs = Series(name, values[part]), Series(PLAIN, plain[part])
            given = None if name in goalless else goal
            yield Figure(f"{key}_{number}_{part}", title, unit, ours, theirs, given, row=row)
