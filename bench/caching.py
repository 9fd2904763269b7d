"""Result caches: a hit compared with a run, and a miss compared with a gateway without a cache."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from bench import callers, systems
from bench.cpu import cpu_ms, family
from bench.factorials import N
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CACHE, CACHE_CONTROL

_CACHES = {"forebay.compute.v1.ComputeService.Factorial": {"ttl": "3600s"}}
_DIGITS = 5_565_709
_AT_ONCE = 100
_WARM_UP_CALLS = 50
_SMALLEST = 500
"""The misses compute factorials from this one on, which take 0.02 ms of a call's 2 ms."""


@dataclass(frozen=True)
class Plan:
    """The number of repetitions, and of timed calls in each."""

    rounds: int
    calls: int


FULL = Plan(rounds=7, calls=300)
QUICK = Plan(rounds=1, calls=50)


@dataclass(frozen=True)
class Cost:
    """The CPU time of gateway, worker and ledger for one call, and the call's median time."""

    cpu_ms: float
    p50_ms: float


@dataclass(frozen=True)
class _System:
    """A gateway, with or without a cache; both gateways share a ledger and a worker."""

    stub: ComputeServiceStub
    pids: tuple[int, ...]

    def cost(self, numbers: Iterator[int], calls: int) -> Cost:
        """The cost of a call whose request is new: `numbers` yields unused arguments."""
        before = cpu_ms(self.pids)
        p50 = callers.p50_ms(lambda: _small(self.stub, next(numbers)), calls)
        return Cost((cpu_ms(self.pids) - before) / calls, p50)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Gateways with the cache and without take turns."""
    with _systems() as (cached, plain):
        yield _hits(cached.stub, plan)
        yield _at_once(cached.stub, plan)
        yield from _misses(cached, plain, plan)


def _hits(stub: ComputeServiceStub, plan: Plan) -> Figure:
    def first() -> float:
        return _seconds(stub, "new", metadata=[(CACHE_CONTROL, "no-cache")])

    def second() -> float:
        return _seconds(stub, "finished")

    first()  # so that there is a result to return
    times = interleave(plan.rounds, {"first": first, "second": second})
    kept, run = Series("the second call", times["second"]), Series("the first", times["first"])
    title = f"Factorial of {N:,}, all digits, with a cache"
    return Figure("cache_hit", title, "s", kept, run, Goal(1 / 20), row=30)


def _seconds(stub: ComputeServiceStub, kind: str, **options: Any) -> float:
    """How long the call takes until all digits are here; `kind` is the expected cache outcome."""
    begun = time.perf_counter()
    call = stub.Factorial(pb.FactorialRequest(n=N), timeout=callers.TIMEOUT_S, **options)
    digits = sum(len(response.digits) for response in call)
    seconds = time.perf_counter() - begun
    assert (digits, dict(call.initial_metadata())[CACHE]) == (_DIGITS, kind)
    return seconds


def _at_once(stub: ComputeServiceStub, plan: Plan) -> Figure:
    """How often the handler runs for identical calls at once; each round has a new number."""
    runs = []
    for number in range(plan.rounds):
        request = pb.FactorialRequest(n=200_000 + number)
        calls = [stub.Factorial(request, timeout=callers.TIMEOUT_S) for _ in range(_AT_ONCE)]
        digits = {"".join(response.digits for response in call) for call in calls}
        assert len(digits) == 1
        kinds = Counter(dict(call.initial_metadata())[CACHE] for call in calls)
        runs.append(float(kinds["new"]))
    series = Series(f"of {_AT_ONCE} identical calls at once", tuple(runs))
    return Figure("cache_runs", "Runs", "", series, goal=Goal(1.0, absolute=True), row=31)


def _misses(cached: _System, plain: _System, plan: Plan) -> Iterator[Figure]:
    numbers = count(_SMALLEST)
    contenders: dict[str, Callable[[], Cost]] = {
        "cached": lambda: cached.cost(numbers, plan.calls),
        "plain": lambda: plain.cost(numbers, plan.calls),
    }
    for system in (cached, plain):
        system.cost(numbers, _WARM_UP_CALLS)
    costs = interleave(plan.rounds, contenders)
    title = "A small Factorial that nobody has asked for"
    for key, unit in (("cpu_ms", "ms of CPU"), ("p50_ms", "ms, p50")):
        ours, theirs = (tuple(getattr(cost, key) for cost in costs[name]) for name in contenders)
        with_cache, without = Series("with a cache", ours), Series("without", theirs)
        yield Figure(f"cache_miss_{key}", title, unit, with_cache, without, Goal(1.05), row=32)


@contextmanager
def _systems() -> Iterator[tuple[_System, _System]]:
    with ExitStack() as stack:
        backend = stack.enter_context(systems.backend())
        worker = stack.enter_context(
            systems.celery_worker("forebay_workers", "factorial", backend.product_env)
        )
        found = []
        for settings in ({"FOREBAY_CACHES": json.dumps(_CACHES)}, {}):
            env = {**backend.product_env, **settings}
            address, pid = stack.enter_context(systems.gateway(replace(backend, product_env=env)))
            stub = ComputeServiceStub(stack.enter_context(callers.channel(address)))
            _small(stub, 1)  # waits until the worker consumes
            found.append(_System(stub, (pid, *family(worker.popen.pid), backend.server_pid)))
        yield found[0], found[1]


def _small(stub: ComputeServiceStub, n: int) -> None:
    request = pb.FactorialRequest(n=n, encoding=pb.INTEGER_ENCODING_BINARY)
    call = stub.Factorial(request, timeout=callers.TIMEOUT_S)
    assert any(response.binary for response in call)
    assert dict(call.initial_metadata()).get(CACHE, "new") == "new" or n == 1
