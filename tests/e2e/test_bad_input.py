"""Bad input gets a clear error with details; nothing is queued, and the gateway goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import redis
from google.rpc import error_details_pb2, status_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import PARTITIONS, partition_prefix
from tests.conftest import Up

SERVICE = "/forebay.compute.v1.ComputeService"
INVALID = ("INVALID_ARGUMENT", "INVALID_REQUEST")
TOO_LARGE = ("RESOURCE_EXHAUSTED", "TOO_LARGE")

F64, F32, I32, C64 = (
    pb.DATA_TYPE_FLOAT64,
    pb.DATA_TYPE_FLOAT32,
    pb.DATA_TYPE_INT32,
    pb.DATA_TYPE_COMPLEX64,
)


def matrix(rows: int, cols: int, dtype: Any = F64, values: list[float] | None = None) -> pb.Matrix:
    return pb.Matrix(rows=rows, cols=cols, dtype=dtype, values=values)


def own(left: pb.Matrix, right: pb.Matrix, **fields: Any) -> pb.MatMulRequest:
    return pb.MatMulRequest(operands=pb.Operands(left=left, right=right, **fields))


def random(**fields: Any) -> pb.MatMulRequest:
    return pb.MatMulRequest(random=pb.RandomOperands(**fields))


def left(size: int) -> pb.MatMulRequest:
    return pb.MatMulRequest(left_chunk=bytes(size))


def right(size: int) -> pb.MatMulRequest:
    return pb.MatMulRequest(right_chunk=bytes(size))


TWO_BY_TWO = own(matrix(2, 2), matrix(2, 2))
INLINE_LEFT = own(matrix(1, 1, values=[1]), matrix(1, 1))

MAT_MUL: dict[str, tuple[list[pb.MatMulRequest], tuple[str, str], str]] = {
    "m zero": ([random(m=0, n=2)], INVALID, "random.m"),
    "n zero": ([random(m=2, n=0)], INVALID, "random.n"),
    "product over the limit": ([random(m=1 << 20, n=1)], TOO_LARGE, "random.m"),
    "operand over the limit": ([random(m=1, n=1 << 40)], TOO_LARGE, "random.n"),
    "sizes that overflow 64 bits": ([random(m=1 << 63, n=1 << 63)], TOO_LARGE, "random.m"),
    "unknown dtype": ([random(m=2, n=2, dtype=77)], INVALID, "random.dtype"),
    "unknown format": ([random(m=2, n=2, format=9)], INVALID, "random.format"),
    "complex values": (
        [random(m=2, n=2, dtype=C64, format=pb.PRODUCT_FORMAT_VALUES)],
        INVALID,
        "random.format",
    ),
    "no rows": ([own(matrix(0, 2), matrix(2, 2))], INVALID, "operands.left.rows"),
    "inner dimensions that differ": (
        [own(matrix(2, 3), matrix(2, 3))],
        INVALID,
        "operands.right.rows",
    ),
    "operands of two types": (
        [own(matrix(2, 2), matrix(2, 2, F32))],
        INVALID,
        "operands.right.dtype",
    ),
    "too few values": (
        [own(matrix(2, 2, values=[1, 2, 3]), matrix(2, 2))],
        INVALID,
        "operands.left.values",
    ),
    "a fraction for an integer": (
        [own(matrix(1, 1, I32, values=[0.5]), matrix(1, 1, I32, values=[1]))],
        INVALID,
        "operands.left.values",
    ),
    "operand announced over the limit": (
        [own(matrix(1, 1 << 40), matrix(1 << 40, 1))],
        TOO_LARGE,
        "operands.left",
    ),
    "a chunk before operands": ([left(8)], INVALID, "left_chunk"),
    "a chunk after random": ([random(m=2, n=2), left(8)], INVALID, "left_chunk"),
    "chunks too short": ([TWO_BY_TWO, left(32), right(31)], INVALID, "right_chunk"),
    "a chunk too long": ([TWO_BY_TWO, left(33)], INVALID, "left_chunk"),
    "the right matrix's chunk first": ([TWO_BY_TWO, right(32)], INVALID, "right_chunk"),
    "a chunk for an inline matrix": ([INLINE_LEFT, left(8)], INVALID, "left_chunk"),
    "a second first message": ([TWO_BY_TWO, TWO_BY_TWO], INVALID, "operands"),
    "an empty message": ([pb.MatMulRequest()], INVALID, "part"),
    "an empty request stream": ([], INVALID, "part"),
}


def refused(call: Callable[[], object]) -> tuple[tuple[str, str], set[str]]:
    """The status and reason that the call ends with, and the fields that it names."""
    with pytest.raises(grpc.RpcError) as raised:
        call()
    error = of_rpc_error(raised.value)
    assert error.status is not None, "every error has details"
    infos = [
        detail
        for detail in error.status.details
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
    ]
    assert len(infos) == 1
    assert isinstance(error.status, status_pb2.Status)
    assert error.status.code == error.code
    return (error.code_name, error.reason), {violation.field for violation in error.violations}


@pytest.fixture(autouse=True)
def _goes_on_and_queues_nothing(up: Up, stub: ComputeServiceStub) -> Iterator[None]:
    """After each case the gateway serves, and no call waits or runs."""
    yield
    assert stub.Add(pb.AddRequest(x=4, y=6), timeout=30).sum == 10
    server = redis.Redis(unix_socket_path=f"{up.env['FOREBAY_DATA_DIR']}/ledger.sock")
    waiting = {n: server.zrange(f"{partition_prefix(n)}:due", 0, -1) for n in range(PARTITIONS)}
    server.close()
    assert not any(waiting.values())


@pytest.mark.parametrize("case", MAT_MUL)
def test_mat_mul_refuses(stub: ComputeServiceStub, case: str) -> None:
    requests, expected, field = MAT_MUL[case]
    status, fields = refused(lambda: list(stub.MatMul(iter(requests), timeout=30)))
    assert (status, fields) == (expected, {field})


@pytest.mark.parametrize("n", [10_000_001, (1 << 64) - 1])
def test_factorial_refuses_n_over_the_limit(stub: ComputeServiceStub, n: int) -> None:
    status, fields = refused(lambda: list(stub.Factorial(pb.FactorialRequest(n=n), timeout=30)))
    assert (status, fields) == (("OUT_OF_RANGE", "INVALID_REQUEST"), {"n"})


def test_factorial_refuses_an_encoding_that_the_contract_lacks(stub: ComputeServiceStub) -> None:
    request = pb.FactorialRequest(n=3, encoding=7)  # type: ignore[arg-type]
    assert refused(lambda: list(stub.Factorial(request, timeout=30))) == (INVALID, {"encoding"})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("forebay-call-id", "no spaces"),
        ("forebay-call-id", ""),
        ("forebay-call-id", "x" * 129),
        ("forebay-resume-from", "-1"),
        ("forebay-resume-from", "1"),  # without a call id
        ("forebay-on-disconnect", "maybe"),
        ("forebay-on-disconnect", "detach"),  # the route does not allow the caller to choose
        ("forebay-priority", "10"),
        ("forebay-priority", "9"),  # over the route's maximum
        ("forebay-surprise", "x"),
    ],
)
def test_bad_metadata_is_refused_by_its_key(stub: ComputeServiceStub, key: str, value: str) -> None:
    call = lambda: stub.Add(pb.AddRequest(), timeout=30, metadata=((key, value),))  # noqa: E731
    assert refused(call) == (INVALID, {key})


def test_garbage_in_place_of_a_message_is_refused(channel: grpc.Channel) -> None:
    for method in ("Add", "Factorial", "MatMul"):
        call = channel.stream_stream(f"{SERVICE}/{method}")
        status, _ = refused(lambda call=call: list(call(iter([b"\xff\xff\xff"]), timeout=30)))
        assert status == INVALID


@pytest.mark.parametrize("size", [5 << 20, 40 << 20])
def test_a_message_over_the_size_limit_is_refused(stub: ComputeServiceStub, size: int) -> None:
    requests = [own(matrix(1, 1 << 24), matrix(1 << 24, 1)), left(size)]
    with pytest.raises(grpc.RpcError) as raised:
        list(stub.MatMul(iter(requests), timeout=30))
    assert of_rpc_error(raised.value).code_name == "RESOURCE_EXHAUSTED"


def test_a_message_over_the_size_limit_has_details(stub: ComputeServiceStub) -> None:
    requests = [own(matrix(1, 1 << 24), matrix(1 << 24, 1)), left(5 << 20)]
    status, _ = refused(lambda: list(stub.MatMul(iter(requests), timeout=30)))
    assert status == TOO_LARGE


@pytest.mark.parametrize("path", [f"{SERVICE}/Divide", "/no.such.Service/Method"])
def test_an_unknown_method_is_refused(channel: grpc.Channel, path: str) -> None:
    status, _ = refused(lambda: channel.unary_unary(path)(b"", timeout=30))
    assert status == ("UNIMPLEMENTED", "METHOD_UNKNOWN")


def test_an_id_in_use_for_another_request_is_refused(stub: ComputeServiceStub) -> None:
    metadata = (("forebay-call-id", "taken"),)
    stub.Add(pb.AddRequest(x=1), timeout=30, metadata=metadata)
    status, _ = refused(lambda: stub.Add(pb.AddRequest(x=2), timeout=30, metadata=metadata))
    assert status == ("ALREADY_EXISTS", "CALL_ID_REUSED")


def test_nan_and_infinities_are_data(stub: ComputeServiceStub) -> None:
    nan, inf = float("nan"), float("inf")
    request = own(matrix(1, 2, values=[nan, 1]), matrix(2, 2, values=[1, inf, 2, -inf]))
    panel = list(stub.MatMul(iter([request]), timeout=30))[-1].panel
    assert str(list(panel.values)) == "[nan, nan]"
