"""Products of hundreds of MB: the gateway's peak memory, and the latency of panels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from bench import callers, systems
from bench.memory import resident_while
from bench.rounds import Figure, Goal, Series
from bench.stage import Stage
from forebay.compute.products import product_requests
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

_COMMON = 16384  # columns of the left operand, rows of the right one
_STREAM_ROWS = 8000
_MOST_MB = 256
# Memory may grow by a window of items (8 MiB) and its copies, but not with the product.
_FLAT_MB = 32


@dataclass(frozen=True)
class Plan:
    """Rows of the product of large operands, repetitions, and the number of streamed products."""

    rows: int
    rounds: int
    streams: int


FULL = Plan(rows=4096, rounds=1, streams=4)
QUICK = Plan(rows=1024, rounds=1, streams=1)


@dataclass(frozen=True)
class Run:
    """The gateway's peak memory in MB; times in seconds after the last operand was sent."""

    peak_mb: float
    first_panel_s: float
    multiplying_s: float
    """The time of the last progress report from before the last panel's computation."""


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """First products of large operands, then large products of random operands."""
    yield from _operands(plan)
    yield from _streams(plan)


def _operands(plan: Plan) -> Iterator[Figure]:
    """Operands of float64, `rows`×16384 and 16384×`rows`; each round has a fresh system."""
    numbers = np.random.default_rng(0)
    left, right = numbers.random((plan.rows, _COMMON)), numbers.random((_COMMON, plan.rows))
    runs = [_run(left, right) for _ in range(plan.rounds)]
    title = f"MatMul with operands of {(left.nbytes + right.nbytes) / (1 << 30):g} GiB"
    yield Figure(
        "big_product_memory",
        title,
        "MB",
        Series("the gateway's memory at most", tuple(run.peak_mb for run in runs)),
        goal=Goal(_MOST_MB),
        row=18,
    )
    yield Figure(
        "big_product_first_panel",
        title,
        "s",
        Series("the first panel has come", tuple(run.first_panel_s for run in runs)),
        Series("the last is yet to be computed", tuple(run.multiplying_s for run in runs)),
        Goal(1.0),
        row=18,
    )


def _run(left: callers.Matrix, right: callers.Matrix) -> Run:
    with _fresh_system() as (stub, pid):
        product = _Product(left, right)
        resident = resident_while(pid, lambda: product.take(stub))
    assert product.rows == len(left)
    return Run(
        resident.peak,
        product.first_panel - product.uploaded,
        product.multiplying - product.uploaded,
    )


@contextmanager
def _fresh_system() -> Iterator[tuple[ComputeServiceStub, int]]:
    """A warmed-up system: a stub, and the gateway's process id."""
    with (
        systems.backend() as backend,
        systems.celery_worker("forebay_workers", "mat_mul", backend.product_env),
        systems.gateway(backend) as (address, pid),
        callers.channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        callers.random_product(stub, 2, 2)
        yield stub, pid


class _Product:
    """A call that sends operands and drops the product's panels as they arrive, with its times."""

    def __init__(self, left: callers.Matrix, right: callers.Matrix) -> None:
        self._requests = product_requests(left, right)
        self._reports: list[tuple[float, float]] = []  # times and fractions
        self._last_panel_rows = 0
        self.uploaded = self.first_panel = 0.0
        self.rows = 0

    @property
    def multiplying(self) -> float:
        """The time of the last progress report from before the last panel's computation."""
        last_begins = 1 - self._last_panel_rows / self.rows
        return max(when for when, fraction in self._reports if fraction < last_begins)

    def take(self, stub: ComputeServiceStub) -> None:
        """Makes the call, and reads the response to its end."""
        for response in stub.MatMul(self._uploading(), timeout=callers.TIMEOUT_S):
            part = response.WhichOneof("part")
            if part == "progress":
                self._reports.append((time.perf_counter(), response.progress.fraction))
            elif part == "panel":
                self.first_panel = self.first_panel or time.perf_counter()
                self._last_panel_rows = response.panel.rows
                self.rows += response.panel.rows

    def _uploading(self) -> Iterator[pb.MatMulRequest]:
        yield from self._requests
        self.uploaded = time.perf_counter()


def _streams(plan: Plan) -> Iterator[Figure]:
    """Streams one product after the other through one gateway."""
    size = _STREAM_ROWS**2 * 8
    with _fresh_system() as (stub, pid):

        def stream() -> None:
            assert callers.random_product_bytes(stub, _STREAM_ROWS) == size

        streams = [resident_while(pid, stream) for _ in range(plan.streams)]
    title = f"Gateway's memory while {size / 1e6:.0f} MB stream"
    peaks = Series("peak", tuple(stream.peak for stream in streams))
    yield Figure("gateway_memory", title, "MB", peaks, goal=Goal(_MOST_MB), row=18)
    growth = Series(
        "peak over that before the first round",
        tuple(stream.peak - streams[0].before for stream in streams),
    )
    yield Figure("gateway_memory_growth", title, "MB", growth, goal=Goal(_FLAT_MB), row=18)
