"""Products of random operands, against the tutorial's task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import celery
import numpy as np

from bench import callers, systems
from bench.rounds import Absent, Figure, Goal, Series, interleave
from bench.stage import Stage
from tests import rabbitmq

ROWS = 1000
_VHOST = "dispatch"


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and whether to measure the tutorial's own configuration on RabbitMQ."""

    rounds: int
    rabbitmq: bool


FULL = Plan(rounds=7, rabbitmq=True)
QUICK = Plan(rounds=1, rabbitmq=False)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Forebay against the task with Redis, and against the task with RabbitMQ and `rpc://` results.

    The second is the tutorial's own configuration.
    """
    m = ROWS
    with ExitStack() as stack:
        contenders: dict[str, Callable[[], object]] = {
            "forebay": lambda: callers.random_product(stage.stub, m, m),
            "redis": stack.enter_context(_tutorial_product(stage.tutorial_env)),
        }
        without = _reason_for_no_rabbitmq(plan)
        if without is None:
            env = stack.enter_context(_tutorial_by_rpc(stage.tutorial_env))
            contenders["rpc"] = stack.enter_context(_tutorial_product(env))
        for contender in contenders.values():
            contender()
        times = interleave(
            plan.rounds, {name: callers.timed(call) for name, call in contenders.items()}
        )
    title = "MatMul, random"
    ours = Series(f"{m}×{m} float64, to an array", times["forebay"])
    redis = Series("the tutorial's task, Redis results", times["redis"])
    yield Figure("mat_mul_random_redis", title, "s", ours, redis, Goal(1 / 8), row=17)
    name = "the tutorial's task, RabbitMQ and rpc:// results"
    rpc = Series(name, times["rpc"]) if without is None else Absent(name, without)
    yield Figure("mat_mul_random_rpc", title, "s", ours, rpc, Goal(1 / 12), row=17)


def _reason_for_no_rabbitmq(plan: Plan) -> str | None:
    if not plan.rabbitmq:
        return "not in the short bench"
    return None if rabbitmq.is_installed() else "no RabbitMQ is installed"


@contextmanager
def _tutorial_by_rpc(env: dict[str, str]) -> Iterator[dict[str, str]]:
    """Runs RabbitMQ and a worker in the tutorial's own configuration; yields their environment."""
    with rabbitmq.rabbitmq_node() as node:
        by_rpc = {
            **env,
            "TUTORIAL_BROKER_URL": node.url(_VHOST),
            "TUTORIAL_RESULT_BACKEND": "rpc://",
        }
        with systems.celery_worker("mat_mul_module", "mat_mul", by_rpc):
            yield by_rpc


@contextmanager
def _tutorial_product(env: dict[str, str]) -> Iterator[Callable[[], object]]:
    """Yields a function that calls the task through a new Celery application.

    The tutorial's own application has only one pair of URLs in a process.
    """
    m = ROWS
    broker, results = env["TUTORIAL_BROKER_URL"], env["TUTORIAL_RESULT_BACKEND"]
    with celery.Celery(broker=broker, backend=results) as app:
        app.conf.result_persistent = True  # as in the tutorial's celeryconfig.py

        def call() -> None:
            result: Any = app.send_task("mat_mul_module.tasks.mat_mul", (m, m), queue="mat_mul")
            product = np.array(json.loads(result.get(timeout=callers.TIMEOUT_S)))
            assert product.shape == (m, m)

        yield call
