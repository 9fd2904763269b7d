"""Products of the caller's own operands, against NumPy and bare gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import grpc
import numpy as np
from threadpoolctl import threadpool_limits

import forebay
from bench import callers, rivals, systems
from bench.rivals.stream import exchange
from bench.rounds import Figure, Goal, Series, interleave
from bench.stage import Stage


@dataclass(frozen=True)
class Plan:
    """The number of rounds, and the sizes of the square operands, in rows."""

    rounds: int
    rows: tuple[int, ...]


_LARGE = 2000
_GOALS = {False: {"off": 2.0, "on": 3.0}, True: {"off": 2.0, "on": 1.8}}
"""The goals by whether the product is large, and whether the append-only file is on."""
FULL = Plan(rounds=7, rows=(1000, 2000))
QUICK = Plan(rounds=1, rows=(1000,))


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Starts two systems, with the append-only file on and off, and a bare gRPC server."""
    with ExitStack() as stack:
        clients = {
            "on": stack.enter_context(_client(append_only=True)),
            "off": stack.enter_context(_client(append_only=False)),
        }
        bare = stack.enter_context(callers.channel(stack.enter_context(rivals.bare_stream())))
        for rows in plan.rows:
            yield from _of_size(clients, bare, rows, plan.rounds)


def _of_size(
    clients: dict[str, forebay.Client], bare: grpc.Channel, rows: int, rounds: int
) -> Iterator[Figure]:
    numbers = np.random.default_rng(rows)
    left, right = numbers.random((rows, rows)), numbers.random((rows, rows))
    product = left @ right
    for client in clients.values():
        assert np.allclose(client.matmul(left, right), product)
    contenders = {
        name: callers.timed(partial(client.matmul, left, right, timeout=callers.TIMEOUT_S))
        for name, client in clients.items()
    }
    contenders["limits"] = partial(_limits_s, bare, left, right)
    times = interleave(rounds, contenders)
    limits = Series("@ in one process + a bare gRPC stream", times["limits"])
    for name, bound in _GOALS[rows >= _LARGE].items():
        yield Figure(
            f"mat_mul_own_{rows}_{name}",
            f"MatMul of one's own {rows}×{rows} float64",
            "s",
            Series(f"append-only file {name}", times[name]),
            limits,
            Goal(bound),
            row=9,
        )


@contextmanager
def _client(*, append_only: bool) -> Iterator[forebay.Client]:
    with (
        systems.backend(append_only=append_only) as backend,
        systems.celery_worker("forebay_workers", "mat_mul", backend.product_env),
        systems.gateway(backend) as (address, _),
        forebay.connect(address) as client,
    ):
        yield client


def _limits_s(bare: grpc.Channel, left: callers.Matrix, right: callers.Matrix) -> float:
    """The seconds to compute the product here and to stream operands and product over bare gRPC.

    NumPy gets as many threads here as a worker has.
    """
    with threadpool_limits(systems.BLAS_THREADS):
        product_s = callers.seconds_of(lambda: left @ right)
    size = left.shape[0] * right.shape[1] * left.itemsize

    def stream() -> None:
        assert exchange(bare, (left.data, right.data), size) == size

    return product_s + callers.seconds_of(stream)
