"""Add: one caller's time, and the calls a second of many."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import callers, rivals
from bench.rounds import Figure, Goal, Series, best_of, interleave
from bench.stage import Stage
from tests.harness import environment

CALLERS = 64
THREADS = 16
_WARM_UP_CALLS = 20


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    calls: int
    load_s: float


FULL = Plan(rounds=7, calls=300, load_s=4.0)
QUICK = Plan(rounds=2, calls=80, load_s=1.0)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Ephemeral and durable calls against Celery's own client, and against a bare server."""
    yield from _add_alone(stage, plan)
    yield from _add_saturated(stage, plan)


def _add_alone(stage: Stage, plan: Plan) -> Iterator[Figure]:
    task = rivals.task(stage.tutorial_env, "add_module", "add_two_numbers")
    calls: dict[str, Callable[[], object]] = {
        "ephemeral": lambda: callers.add(stage.stub, durable=False),
        "durable": lambda: callers.add(stage.stub, durable=True),
        "celery": lambda: callers.add_with_celery(task),
    }
    for call in calls.values():
        callers.p50_ms(call, _WARM_UP_CALLS)
    figures = interleave(
        plan.rounds,
        {name: _timed(call, plan.calls) for name, call in calls.items()},
    )
    celery = Series("Celery's apply_async().get()", figures["celery"])
    yield Figure(
        "add_p50_ephemeral",
        "Add, one caller, p50",
        "ms",
        Series("ephemeral", figures["ephemeral"]),
        celery,
        Goal(1.2),
    )
    yield Figure(
        "add_p50_durable",
        "Add, one caller, p50",
        "ms",
        Series("durable", figures["durable"]),
        celery,
        Goal(1.8),
    )


def _timed(call: Callable[[], object], count: int) -> Callable[[], float]:
    return lambda: callers.p50_ms(call, count)


def _add_saturated(stage: Stage, plan: Plan) -> Iterator[Figure]:
    def grpc_load(address: str, kind: str) -> Callable[[], float]:
        words = ("grpc", address, str(CALLERS), str(plan.load_s), kind)
        return lambda: _load(words, environment())

    def celery_load(threads: int) -> Callable[[], float]:
        words = ("celery", str(threads), str(plan.load_s))
        return lambda: _load(words, stage.tutorial_env)

    figures = interleave(
        plan.rounds,
        {
            "ephemeral": grpc_load(stage.address, "ephemeral"),
            "durable": grpc_load(stage.address, "durable"),
            "celery 1": celery_load(1),
            "celery many": celery_load(THREADS),
            "echo": grpc_load(stage.echo_address, "ephemeral"),
        },
    )
    celery = Series(
        f"Celery's client, the better of 1 and {THREADS} threads",
        best_of(figures["celery 1"], figures["celery many"]),
    )
    echo = Series("a bare grpc.aio echo", figures["echo"])
    title = f"Add, {CALLERS} callers"
    ephemeral = Series("ephemeral", figures["ephemeral"])
    durable = Series("durable", figures["durable"])
    yield Figure("add_rate_ephemeral", title, "calls/s", ephemeral, celery)
    yield Figure("add_rate_durable", title, "calls/s", durable, celery)
    yield Figure("add_rate_echo", title, "calls/s", ephemeral, echo)


def _load(words: tuple[str, ...], env: dict[str, str]) -> float:
    """What a load process measures."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.load", *words],
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=callers.TIMEOUT_S,
    )
    return float(done.stdout.split()[-1])
