"""Single calls, written as a user would write them, and functions that time them."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from typing import Any

import gmpy2
import grpc
import numpy as np

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub

TIMEOUT_S = 120.0
_MAX_MESSAGE_BYTES = 16 << 20

Matrix = np.ndarray[Any, np.dtype[np.float64]]


def channel(address: str) -> grpc.Channel:
    """A channel that accepts responses of up to 16 MiB; gRPC's default is 4 MiB."""
    return grpc.insecure_channel(
        address, options=[("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES)]
    )


def seconds_of(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """A function that does the work and returns its duration."""
    return lambda: seconds_of(work)


def p50_ms(call: Callable[[], object], count: int) -> float:
    """The median time of that many calls, made one after the other."""
    return statistics.median(seconds_of(call) for _ in range(count)) * 1000


def add(stub: ComputeServiceStub, *, durable: bool) -> None:
    """Computes 4 + 6 through the gateway; an id of the caller's own makes a call durable."""
    metadata = (("forebay-call-id", str(uuid.uuid4())),) if durable else ()
    assert stub.Add(pb.AddRequest(x=4, y=6), timeout=TIMEOUT_S, metadata=metadata).sum == 10


def add_with_celery(task: Any) -> None:
    """Computes 4 + 6 through Celery's own client."""
    assert task.apply_async((4, 6)).get(timeout=TIMEOUT_S) == 10


def random_product(stub: ComputeServiceStub, m: int, n: int) -> Matrix:
    """A random m×m product through the gateway, assembled from its panels."""
    request = pb.MatMulRequest(random=pb.RandomOperands(m=m, n=n))
    product = np.empty((m, m))
    rows = 0
    for response in stub.MatMul(iter([request]), timeout=TIMEOUT_S):
        if response.WhichOneof("part") == "panel":
            panel = response.panel
            product[panel.first_row : panel.first_row + panel.rows] = np.frombuffer(
                panel.data, "<f8"
            ).reshape(panel.rows, m)
            rows += panel.rows
    assert rows == m
    return product


def random_product_bytes(stub: ComputeServiceStub, m: int) -> int:
    """Streams a random m×m product through the gateway, drops it, and returns its size."""
    request = pb.MatMulRequest(random=pb.RandomOperands(m=m, n=1))
    return sum(
        len(response.panel.data) for response in stub.MatMul(iter([request]), timeout=TIMEOUT_S)
    )


def factorial_text_here(n: int) -> str:
    """The digits of n!, computed in this process."""
    return str(gmpy2.fac(n).digits())
