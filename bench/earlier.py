"""The products and the factorial, until their rows have measurements of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench import callers, rivals, systems
from bench.memory import resident_while
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

MATRIX_ROWS = 1000
FACTORIAL_N = 1_000_000
STREAM_ROWS = 8000
# Flat: what grows is a window of items in flight (8 MiB by default) with some copies of it.
_FLAT_MB = 32


@dataclass(frozen=True)
class Plan:
    """How often."""

    rounds: int
    streams: int


FULL = Plan(rounds=7, streams=5)
QUICK = Plan(rounds=2, streams=2)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """A random product, a factorial, and the gateway's memory."""
    yield _mat_mul(stage, plan)
    yield _factorial(stage, plan)
    yield from _memory(stage.backend, plan)


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
