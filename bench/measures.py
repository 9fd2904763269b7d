"""The measurements: who is compared with whom, at what, how often."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

from bench import callers, rivals, systems
from bench.memory import resident_while
from bench.rounds import Figure, Goal, Series, best_of, interleave
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.harness import environment

CALLERS = 64
THREADS = 16
MATRIX_ROWS = 1000
FACTORIAL_N = 1_000_000
STREAM_ROWS = 8000
_WARM_UP_CALLS = 20
# Flat: what grows is a window of items in flight (8 MiB by default) with some copies of it.
_FLAT_MB = 32


@dataclass(frozen=True)
class Plan:
    """How much of everything."""

    rounds: int
    add_calls: int
    load_s: float
    streams: int


FULL = Plan(rounds=7, add_calls=300, load_s=4.0, streams=5)
QUICK = Plan(rounds=2, add_calls=80, load_s=1.0, streams=2)


@dataclass(frozen=True)
class Stage:
    """What is running, for the measurements to call."""

    address: str
    stub: ComputeServiceStub
    tutorial_env: dict[str, str]
    echo_address: str


def measure(plan: Plan) -> Generator[Figure, None, None]:
    """All figures, as they come; what they need runs until it is exhausted or closed."""
    with (
        systems.backend() as backend,
        systems.workers(backend),
        rivals.tutorial(backend) as tutorial_env,
        rivals.echo() as echo_address,
    ):
        with (
            systems.gateway(backend) as (address, _),
            callers.channel(address) as channel,
        ):
            stage = Stage(address, ComputeServiceStub(channel), tutorial_env, echo_address)
            yield from _add_alone(stage, plan)
            yield from _add_saturated(stage, plan)
            yield _mat_mul(stage, plan)
            yield _factorial(stage, plan)
        yield from _memory(backend, plan)


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
        {name: _timed(call, plan.add_calls) for name, call in calls.items()},
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


def _mat_mul(stage: Stage, plan: Plan) -> Figure:
    task = rivals.task(stage.tutorial_env, "mat_mul_module", "matrix_multiplication")
    m = MATRIX_ROWS
    callers.random_product(stage.stub, 2, 2)
    callers.random_product_with_celery(task, 2, 2)
    figures = interleave(
        plan.rounds,
        {
            "ours": lambda: callers.seconds_of(lambda: callers.random_product(stage.stub, m, m)),
            "theirs": lambda: callers.seconds_of(
                lambda: callers.random_product_with_celery(task, m, m)
            ),
        },
    )
    # The goal is "five times faster"; the ratio is one of times.
    return Figure(
        "mat_mul_1000",
        "MatMul",
        "s",
        Series(f"random {m}×{m} float64, to an array", figures["ours"]),
        Series("Celery and the tutorial's JSON", figures["theirs"]),
        Goal(1 / 5),
    )


def _factorial(stage: Stage, plan: Plan) -> Figure:
    n = FACTORIAL_N
    assert callers.factorial_text(stage.stub, n) == callers.factorial_text_here(n)
    figures = interleave(
        plan.rounds,
        {
            "ours": lambda: callers.seconds_of(lambda: callers.factorial_text(stage.stub, n)),
            "theirs": lambda: callers.seconds_of(lambda: callers.factorial_text_here(n)),
        },
    )
    return Figure(
        "factorial_1000000",
        "Factorial",
        "s",
        Series(f"all digits of {n:,}!", figures["ours"]),
        Series("gmpy2 in one process", figures["theirs"]),
        Goal(1.5),
    )


def _memory(backend: systems.Backend, plan: Plan) -> Iterator[Figure]:
    """A fresh gateway, through which one product after the other streams."""
    size = STREAM_ROWS**2 * 8
    with (
        systems.gateway(backend) as (address, pid),
        callers.channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        callers.random_product(stub, 2, 2)

        def stream() -> None:
            assert callers.random_product_bytes(stub, STREAM_ROWS) == size

        streams = [resident_while(pid, stream) for _ in range(plan.streams)]
    title = f"Gateway's memory while {size / 1e6:.0f} MB stream"
    yield Figure(
        "gateway_memory",
        title,
        "MB",
        Series("peak", tuple(stream.peak for stream in streams)),
        goal=Goal(300),
    )
    yield Figure(
        "gateway_memory_growth",
        title,
        "MB",
        Series(
            "peak over that before the first round",
            tuple(stream.peak - streams[0].before for stream in streams),
        ),
        goal=Goal(_FLAT_MB),
    )
