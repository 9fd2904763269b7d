"""The latency of Add for a single caller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench import callers, rivals
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage

_WARM_UP_CALLS = 20


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and of each contender's calls in a round."""

    rounds: int
    calls: int


FULL = Plan(rounds=7, calls=300)
QUICK = Plan(rounds=2, calls=50)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Ephemeral and durable calls, from a synchronous stub, against Celery's own client."""
    task = rivals.task(stage.tutorial_env, "add_module", "add_two_numbers")
    calls: dict[str, Callable[[], object]] = {
        "ephemeral": lambda: callers.add(stage.stub, durable=False),
        "durable": lambda: callers.add(stage.stub, durable=True),
        "celery": lambda: callers.add_with_celery(task),
    }
    for call in calls.values():
        callers.p50_ms(call, _WARM_UP_CALLS)
    p50s = interleave(plan.rounds, {name: _timed(calls[name], plan.calls) for name in calls})
    title = "Add, one caller, p50"
    celery = Series("Celery's apply_async().get()", p50s["celery"])
    ephemeral = Series("ephemeral", p50s["ephemeral"])
    durable = Series("durable", p50s["durable"])
    yield Figure("add_p50_ephemeral", title, "ms", ephemeral, celery, Goal(0.55), row=1)
    yield Figure("add_p50_durable", title, "ms", durable, celery, Goal(0.85), row=6)


def _timed(call: Callable[[], object], count: int) -> Callable[[], float]:
    return lambda: callers.p50_ms(call, count)
