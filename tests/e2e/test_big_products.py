"""Products that take seconds, on two workers of one thread each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import grpc
import numpy as np
import pytest
import redis

from forebay.compute.arrays import Array
from forebay.compute.products import ProductAssembly, product_requests, random_request
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_workers.compute.mat_mul import random_operands
from tests.harness import Process, environment, eventually, forebay_gateway, short_folder, worker

TIMEOUT_S = 120.0
# Over the threshold, and slower to compute than to deliver: of whole numbers NumPy has no BLAS.
ROWS, INNER = 1600, 1700


@pytest.fixture(scope="module")
def fleet() -> Iterator[tuple[ComputeServiceStub, list[Process]]]:
    """A gateway's stub, and two workers of MatMul."""
    with short_folder() as folder, ExitStack() as stack:
        data_dir = str(folder / "data")
        env = environment(FOREBAY_DATA_DIR=data_dir, OPENBLAS_NUM_THREADS="1")
        _, address = stack.enter_context(forebay_gateway(env=env))
        arguments = ("-Q", "mat_mul", "--concurrency", "1")
        workers = [stack.enter_context(worker(*arguments, env=env)) for _ in range(2)]
        ledger = redis.Redis(unix_socket_path=f"{data_dir}/ledger.sock")
        eventually(lambda: ledger.zcard("forebay:workers") == 2, "both are known")
        ledger.close()
        channel = stack.enter_context(grpc.insecure_channel(address))
        yield ComputeServiceStub(channel), workers


def exact_product(left: Array, right: Array) -> Array:
    """The product of whole numbers: by BLAS, whose sums are exact where they are small."""
    return (left.astype(np.float64) @ right.astype(np.float64)).astype(left.dtype)


def product(stub: ComputeServiceStub, requests: Iterator[pb.MatMulRequest]) -> Array:
    assembly = ProductAssembly()
    for response in stub.MatMul(requests, timeout=TIMEOUT_S):
        if response.WhichOneof("part") != "progress":
            assembly.feed(response)
    return assembly.result()


def helped(workers: list[Process]) -> int:
    """How many calls were helped."""
    return sum(one.output.count(" was helped with ") for one in workers)


def test_two_workers_multiply_random_matrices(
    fleet: tuple[ComputeServiceStub, list[Process]],
) -> None:
    stub, workers = fleet
    before = helped(workers)
    request = random_request(ROWS, INNER, 7, np.int32)
    found = product(stub, iter([request]))
    assert np.array_equal(found, exact_product(*random_operands(request.random, 7)))
    eventually(lambda: helped(workers) == before + 1, "one worker helped the other")


def test_two_workers_multiply_the_callers_own_matrices(
    fleet: tuple[ComputeServiceStub, list[Process]],
) -> None:
    stub, workers = fleet
    before = helped(workers)
    generator = np.random.default_rng(1)
    left = generator.integers(-1000, 1000, (ROWS, INNER), np.int32)
    right = generator.integers(-1000, 1000, (INNER, ROWS), np.int32)
    found = product(stub, iter(product_requests(left, right)))
    assert np.array_equal(found, exact_product(left, right))
    eventually(lambda: helped(workers) == before + 1, "one worker helped the other")
