"""The costs of an ephemeral Add: CPU and rate under a saturating load, and one caller's time.

Contenders are gateways, each with its worker and ledger, that are called with some credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from bench import callers
from bench.credentials import Credentials
from bench.rounds import Figure, Goal, Series, interleave
from bench.saturated import cpu_and_rate
from forebay.compute.v1.compute_pb2 import AddRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

PLAIN = "plain"
_IN_FLIGHT = 64
_WARM_UP_CALLS = 50


@dataclass(frozen=True)
class Plan:
    """How often the contenders are started, the rounds of each start, the duration of a load, and
    the calls of one caller.
    """

    starts: int
    rounds: int
    load_s: float
    calls: int


FULL = Plan(starts=8, rounds=3, load_s=1.5, calls=300)
QUICK = Plan(starts=1, rounds=1, load_s=0.5, calls=50)


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


class Costs(NamedTuple):
    """The figures of one round."""

    cpu_us: float
    rate: float
    p50_ms: float


def take_turns(contenders: Mapping[str, Contender], plan: Plan) -> dict[str, tuple[Costs, ...]]:
    """Measures each contender once a round."""
    loads = interleave(plan.rounds, {name: one.load for name, one in contenders.items()})
    alone = interleave(plan.rounds, {name: one.p50_ms for name, one in contenders.items()})
    return {
        name: tuple(
            Costs(*load, p50_ms) for load, p50_ms in zip(loads[name], alone[name], strict=True)
        )
        for name in contenders
    }


def against_plain(
    key: str,
    found: Mapping[str, tuple[Costs, ...]],
    *,
    row: int,
    goalless: Collection[str] = (),
) -> Iterator[Figure]:
    """The figures of each contender against the one named `PLAIN`.

    `key` begins the figures' keys. The contenders `goalless` have no goals.
    """
    series = {
        name: [Series(name, values) for values in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    plain = series.pop(PLAIN)
    for number, (name, own) in enumerate(series.items()):
        for ours, theirs, (part, title, unit, goal) in zip(own, plain, _FIGURES, strict=True):
            given = None if name in goalless else goal
            yield Figure(f"{key}_{number}_{part}", title, unit, ours, theirs, given, row=row)


_FIGURES = (
    ("cpu", "Add, saturated, in gateway, worker and ledger", "µs of CPU", Goal(1.15)),
    ("rate", "Add, saturated", "calls/s", Goal(0.85, at_most=False)),
    ("p50", "Add, one caller, p50", "ms", Goal(1.15)),
)
"""In the order of `Costs`."""
