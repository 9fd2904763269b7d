"""Load on ComputeService that moves every metric: calls of all kinds, failures, lost attempts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import grpc
import psutil

from forebay.compute.v1.compute_pb2 import (
    AddRequest,
    FactorialRequest,
    MatMulRequest,
    RandomOperands,
)
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

_TIMEOUT_S = 30.0
_OVER_THE_LIMIT = 10**12


@dataclass(frozen=True)
class Channels:
    """Those of a caller, of one over its quota, and of one without an identity."""

    usual: grpc.Channel
    over_quota: grpc.Channel
    nobody: grpc.Channel


@contextmanager
def load(channels: Channels, worker_pid: int, kill_every_s: float) -> Iterator[None]:
    """Calls the gateway, and kills children of the worker, until the block is left."""
    stop = threading.Event()
    with channels.usual, channels.over_quota, channels.nobody:
        stub = ComputeServiceStub(channels.usual)
        refused = [ComputeServiceStub(one) for one in (channels.over_quota, channels.nobody)]
        jobs: list[tuple[Callable[[int], None], float]] = [
            *([(lambda number: _add(stub, number), 0.01)] * 4),
            # More callers than the worker has slots, so that calls wait.
            *([(lambda number: _factorial(stub, number), 0.01)] * 4),
            (lambda number: _product(stub, number), 0.1),
            (lambda number: _failures(stub, number), 0.2),
            (lambda number: _add(refused[number % 2], number), 0.1),
            (lambda _: _kill_child(worker_pid), kill_every_s),
        ]
        threads = [threading.Thread(target=_repeat, args=(*job, stop)) for job in jobs]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _repeat(job: Callable[[int], None], pause_s: float, stop: threading.Event) -> None:
    number = 0
    while not stop.wait(pause_s):
        with suppress(grpc.RpcError):  # a killed child, or a failure that is asked for
            job(number)
        number += 1


def _add(stub: ComputeServiceStub, number: int) -> None:
    stub.Add(AddRequest(x=number, y=1), timeout=_TIMEOUT_S)


def _factorial(stub: ComputeServiceStub, number: int) -> None:
    list(stub.Factorial(FactorialRequest(n=20_000 + 1000 * (number % 100)), timeout=_TIMEOUT_S))


def _product(stub: ComputeServiceStub, number: int) -> None:
    operands = RandomOperands(m=100, n=100, seed=number)
    list(stub.MatMul(iter([MatMulRequest(random=operands)]), timeout=_TIMEOUT_S))


def _failures(stub: ComputeServiceStub, number: int) -> None:
    n, timeout_s = (_OVER_THE_LIMIT, _TIMEOUT_S) if number % 2 else (3_000_000, 0.2)
    list(stub.Factorial(FactorialRequest(n=n), timeout=timeout_s))


def _kill_child(worker_pid: int) -> None:
    """The child that has run for the longest, so that handlers are among them."""
    children = psutil.Process(worker_pid).children()
    if children:
        with suppress(psutil.NoSuchProcess):
            max(children, key=lambda child: sum(child.cpu_times()[:2])).kill()
    time.sleep(0)
