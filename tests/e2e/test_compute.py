"""The three operations through the generated stub."""

from __future__ import annotations

import json
import math
from typing import Any

import grpc
import numpy as np
import pytest

from forebay.compute.arrays import DTYPES, byte_chunks
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from tests.conftest import Up
from tests.harness import forebay_gateway
from tests.matrices import exact

TIMEOUT_S = 30.0


def product(responses: list[pb.MatMulResponse]) -> np.ndarray:
    """The matrix in a stream of responses."""
    parts = [response for response in responses if response.WhichOneof("part") != "progress"]
    header = parts[0].header
    panels = [part.panel for part in parts[1:]]
    assert [panel.first_row for panel in panels] == list(
        np.cumsum([0, *(panel.rows for panel in panels)])[:-1]
    )
    whole = b"".join(panel.data for panel in panels)
    return np.frombuffer(whole, DTYPES[header.dtype]).reshape(header.rows, header.cols)


@pytest.mark.parametrize(
    ("x", "y"), [(4.0, 6.0), (0.1, 0.2), (1e308, 1e308), (math.inf, -math.inf), (-0.0, -0.0)]
)
def test_add_is_the_sum_of_doubles(stub: ComputeServiceStub, x: float, y: float) -> None:
    total = stub.Add(pb.AddRequest(x=x, y=y), timeout=TIMEOUT_S).sum
    assert total == x + y or (math.isnan(total) and math.isnan(x + y))
    assert math.copysign(1, total) == math.copysign(1, x + y) or math.isnan(total)


def test_add_with_a_callers_id_is_durable_and_returns_the_id(stub: ComputeServiceStub) -> None:
    response, call = stub.Add.with_call(
        pb.AddRequest(x=4, y=6), timeout=TIMEOUT_S, metadata=[("forebay-call-id", "sum-4-6")]
    )
    assert response.sum == 10.0
    initial = dict(call.initial_metadata())
    assert (initial["forebay-call-id"], initial["forebay-attached"]) == ("sum-4-6", "new")
    assert {"forebay-queue-ms", "forebay-run-ms", "forebay-attempts"} <= dict(
        call.trailing_metadata()
    ).keys()


def test_add_without_an_id_gets_one_in_trailing_metadata(stub: ComputeServiceStub) -> None:
    _, call = stub.Add.with_call(pb.AddRequest(x=1, y=1), timeout=TIMEOUT_S)
    assert dict(call.trailing_metadata())["forebay-call-id"]


@pytest.mark.parametrize("n", [0, 1, 2, 20, 1000, 20000])
def test_factorial_in_decimal_is_exact(stub: ComputeServiceStub, n: int) -> None:
    responses = list(stub.Factorial(pb.FactorialRequest(n=n), timeout=TIMEOUT_S))
    parts = [r for r in responses if r.WhichOneof("part") != "progress"]
    header, digits = parts[0].header, "".join(part.digits for part in parts[1:])
    exact = math.factorial(n)
    assert header.digit_count == len(digits)
    assert header.bit_length == exact.bit_length()
    assert header.byte_count == (exact.bit_length() + 7) // 8
    assert digits.isdecimal()
    assert _to_int(digits) == exact


@pytest.mark.parametrize("n", [0, 1, 300_000])
def test_factorial_in_binary_is_exact(stub: ComputeServiceStub, n: int) -> None:
    request = pb.FactorialRequest(n=n, encoding=pb.INTEGER_ENCODING_BINARY)
    binary = b"".join(r.binary for r in stub.Factorial(request, timeout=TIMEOUT_S))
    assert int.from_bytes(binary, "big") == math.factorial(n)


def test_random_product_is_that_of_its_seed(stub: ComputeServiceStub) -> None:
    def call(seed: int | None) -> tuple[np.ndarray, int]:
        random = pb.RandomOperands(m=20, n=30, seed=seed)
        responses = list(stub.MatMul(iter([pb.MatMulRequest(random=random)]), timeout=TIMEOUT_S))
        return product(responses), responses[0].header.seed

    first, seed = call(None)
    again, _ = call(seed)
    other, _ = call(seed ^ 1)
    assert first.shape == (20, 20)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("data_type", DTYPES)
def test_own_operands_in_chunks_are_multiplied_as_numpy_does(
    stub: ComputeServiceStub, data_type: int
) -> None:
    generator = np.random.default_rng(7)
    dtype = DTYPES[data_type]
    left, right = exact(generator, 70, 50, dtype), exact(generator, 50, 30, dtype)

    def requests():
        operands = pb.Operands(
            left=pb.Matrix(dtype=data_type, rows=70, cols=50),
            right=pb.Matrix(dtype=data_type, rows=50, cols=30),
        )
        yield pb.MatMulRequest(operands=operands)
        for chunk in byte_chunks(left):
            yield pb.MatMulRequest(left_chunk=chunk[:1000])
            yield pb.MatMulRequest(left_chunk=chunk[1000:])
        for chunk in byte_chunks(right):
            yield pb.MatMulRequest(right_chunk=chunk)

    assert np.array_equal(product(list(stub.MatMul(requests(), timeout=TIMEOUT_S))), left @ right)


def test_inline_operands_come_back_as_values(stub: ComputeServiceStub) -> None:
    operands = pb.Operands(
        left=pb.Matrix(rows=2, cols=2, values=[1, 2, 3, 4]),
        right=pb.Matrix(rows=2, cols=1, values=[5, 6]),
    )
    responses = list(stub.MatMul(iter([pb.MatMulRequest(operands=operands)]), timeout=TIMEOUT_S))
    assert list(responses[-1].panel.values) == [17.0, 39.0]


def test_a_large_product_comes_in_panels(stub: ComputeServiceStub) -> None:
    random = pb.RandomOperands(m=700, n=10, seed=1)
    responses = list(stub.MatMul(iter([pb.MatMulRequest(random=random)]), timeout=TIMEOUT_S))
    assert sum(response.WhichOneof("part") == "panel" for response in responses) > 1
    assert product(responses).shape == (700, 700)


def _to_int(digits: str) -> int:
    value = 0
    for start in range(0, len(digits), 4000):
        piece = digits[start : start + 4000]
        value = value * 10 ** len(piece) + int(piece)
    return value


def test_a_setting_lets_factorial_and_seeded_matmul_share_runs(up: Up) -> None:
    caches = {
        "forebay.compute.v1.ComputeService.Factorial": {"ttl": "60s"},
        "forebay.compute.v1.ComputeService.MatMul": {
            "ttl": "60s",
            "only_with_fields": ["random.seed"],
        },
    }
    env = {**up.env, "FOREBAY_CACHES": json.dumps(caches)}
    with (
        forebay_gateway(env=env) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)

        def mat_mul(**seed: int) -> Any:
            operands = pb.RandomOperands(m=2, n=2, **seed)
            return stub.MatMul(iter([pb.MatMulRequest(random=operands)]), timeout=TIMEOUT_S)

        seeded = [ended_kind(mat_mul(seed=seed)) for seed in (7, 7, 8)]
        assert seeded == ["new", "finished", "new"]
        assert [ended_kind(mat_mul()) for _ in range(2)] == [None, None]
        request = pb.FactorialRequest(n=5)
        factorials = [ended_kind(stub.Factorial(request, timeout=TIMEOUT_S)) for _ in range(2)]
        assert factorials == ["new", "finished"]


def ended_kind(call: Any) -> str | None:
    """Which run the call got, when it has ended."""
    list(call)
    return dict(call.initial_metadata()).get("forebay-cache")
