"""The checks of ComputeService: the error of each invalid request."""

from __future__ import annotations

import math
from typing import Any

import pytest

from forebay.compute.checks import (
    ITEM_BYTES,
    MAX_N,
    MAX_ROW_BYTES,
    FactorialCheck,
    MatMulCheck,
    matrix_bytes,
    product_format,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ForebayError, InvalidRequest, OutOfRange, TooLarge
from tests.unit.samples import violated

DATA, VALUES = pb.PRODUCT_FORMAT_DATA, pb.PRODUCT_FORMAT_VALUES


def _random(**fields: Any) -> pb.MatMulRequest:
    return pb.MatMulRequest(random=pb.RandomOperands(**{"m": 2, "n": 3, **fields}))


def _matrix(rows: int = 2, cols: int = 2, **fields: Any) -> pb.Matrix:
    return pb.Matrix(rows=rows, cols=cols, **fields)


def _operands(
    left: pb.Matrix | None = None, right: pb.Matrix | None = None, **fields: Any
) -> pb.MatMulRequest:
    return pb.MatMulRequest(
        operands=pb.Operands(left=left or _matrix(), right=right or _matrix(), **fields)
    )


def _refused(request: pb.MatMulRequest, max_matrix_bytes: int = 1000) -> ForebayError:
    with pytest.raises(ForebayError) as caught:
        MatMulCheck(max_matrix_bytes=max_matrix_bytes).feed(request)
    return caught.value


@pytest.mark.parametrize("n", [0, 1, MAX_N])
def test_a_factorial_up_to_the_limit_passes(n: int) -> None:
    check = FactorialCheck()
    check.feed(pb.FactorialRequest(n=n, encoding=pb.INTEGER_ENCODING_BINARY))
    check.end()


@pytest.mark.parametrize("n", [MAX_N + 1, 2**64 - 1])
def test_n_over_the_limit_is_out_of_range(n: int) -> None:
    with pytest.raises(OutOfRange, match=str(MAX_N)) as caught:
        FactorialCheck().feed(pb.FactorialRequest(n=n))
    assert violated(caught.value) == ["n"]


@pytest.mark.parametrize("encoding", [3, 99, -1])
def test_an_unknown_encoding_is_invalid(encoding: Any) -> None:
    with pytest.raises(InvalidRequest, match=str(encoding)) as caught:
        FactorialCheck().feed(pb.FactorialRequest(n=1, encoding=encoding))
    assert violated(caught.value) == ["encoding"]


@pytest.mark.parametrize("dtype", [pb.DATA_TYPE_UNSPECIFIED, *ITEM_BYTES])
def test_random_operands_of_every_type_pass_and_end(dtype: pb.DataType.ValueType) -> None:
    check = MatMulCheck()
    check.feed(_random(dtype=dtype))
    check.end()


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (_random(m=0), "random.m"),
        (_random(n=0), "random.n"),
        (_random(dtype=7), "random.dtype"),
        (_random(dtype=-1), "random.dtype"),
        (_random(format=3), "random.format"),
        (_random(format=VALUES, dtype=pb.DATA_TYPE_COMPLEX64), "random.format"),
        (_operands(_matrix(rows=0)), "operands.left.rows"),
        (_operands(_matrix(cols=0)), "operands.left.cols"),
        (_operands(right=_matrix(rows=0)), "operands.right.rows"),
        (_operands(right=_matrix(cols=0)), "operands.right.cols"),
        (_operands(_matrix(dtype=7)), "operands.left.dtype"),
        (_operands(right=_matrix(dtype=7)), "operands.right.dtype"),
        (_operands(right=_matrix(dtype=pb.DATA_TYPE_INT64)), "operands.right.dtype"),
        (_operands(_matrix(cols=3)), "operands.right.rows"),
        (_operands(_matrix(values=[1, 2, 3])), "operands.left.values"),
        (_operands(right=_matrix(values=[1] * 5)), "operands.right.values"),
        (_operands(format=3), "operands.format"),
        (
            _operands(*[_matrix(dtype=pb.DATA_TYPE_COMPLEX128)] * 2, format=VALUES),
            "operands.format",
        ),
        (pb.MatMulRequest(), "part"),
    ],
)
def test_a_malformed_opening_is_invalid_and_names_its_field(
    request_: pb.MatMulRequest, field: str
) -> None:
    error = _refused(request_)
    assert type(error) is InvalidRequest
    assert violated(error) == [field]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (_random(m=12, n=1), "random.m"),
        (_random(m=1, n=126), "random.n"),
        (_random(m=2**63, n=2**63), "random.m"),
        (_operands(_matrix(1, 126), _matrix(126, 1)), "operands.left"),
        (_operands(_matrix(1, 1), _matrix(1, 126)), "operands.right"),
        (_operands(_matrix(12, 1), _matrix(1, 12)), "operands"),
    ],
)
def test_a_matrix_over_the_limit_is_too_large(request_: pb.MatMulRequest, field: str) -> None:
    error = _refused(request_)
    assert type(error) is TooLarge
    assert violated(error) == [field]
    assert "1000 bytes" in error.message


def test_a_matrix_of_exactly_the_limit_passes() -> None:
    MatMulCheck(max_matrix_bytes=800).feed(_random(m=10, n=10))
    with pytest.raises(TooLarge):
        MatMulCheck(max_matrix_bytes=799).feed(_random(m=10, n=10))


@pytest.mark.parametrize(
    ("cols", "fields"),
    [
        (3 << 18, {"dtype": pb.DATA_TYPE_INT32}),
        (3 << 17, {}),
        (3 << 17, {"dtype": pb.DATA_TYPE_INT32, "values": True}),
        (3 << 16, {"dtype": pb.DATA_TYPE_COMPLEX128}),
    ],
    ids=["of 4 bytes", "of 8 bytes", "as doubles", "of 16 bytes"],
)
def test_a_row_of_the_product_of_exactly_3_mib_passes(cols: int, fields: dict[str, Any]) -> None:
    def request(cols: int) -> pb.MatMulRequest:
        left, right = (
            _matrix(1, size, **fields | ({"values": [1] * size} if "values" in fields else {}))
            for size in (1, cols)
        )
        return _operands(left, right)

    assert MAX_ROW_BYTES == 3 * 1024 * 1024
    MatMulCheck().feed(request(cols))
    error = _refused(request(cols + 1), max_matrix_bytes=1 << 30)
    assert type(error) is TooLarge
    assert violated(error) == ["operands.right.cols"]


def test_an_unset_type_is_the_same_as_float64() -> None:
    MatMulCheck().feed(_operands(right=_matrix(dtype=pb.DATA_TYPE_FLOAT64)))


@pytest.mark.parametrize("dtype", [pb.DATA_TYPE_INT32, pb.DATA_TYPE_INT64])
@pytest.mark.parametrize("value", [0.5, math.nan, math.inf, -math.inf, 2.0**63, -(2.0**63) - 2048])
def test_an_integer_matrix_has_whole_values_within_its_type(
    dtype: pb.DataType.ValueType, value: float
) -> None:
    matrix = _matrix(dtype=dtype, values=[1, 2, 3, value])
    assert violated(_refused(_operands(matrix, matrix))) == ["operands.left.values"]
    fine = _matrix(dtype=dtype)
    assert violated(_refused(_operands(fine, matrix))) == ["operands.right.values"]


@pytest.mark.parametrize(
    ("dtype", "inside", "outside"),
    [
        (pb.DATA_TYPE_INT32, [-(2**31), 2**31 - 1], [-(2**31) - 1, 2**31]),
        (pb.DATA_TYPE_INT64, [-(2**53) + 1, 2**53 - 1], [-(2**53) - 2, 2**53 + 2]),
    ],
)
def test_integer_values_must_fit_the_type_and_a_double(
    dtype: pb.DataType.ValueType, inside: list[int], outside: list[int]
) -> None:
    for value in inside:
        matrix = _matrix(1, 1, dtype=dtype, values=[value])
        MatMulCheck().feed(_operands(matrix, matrix))
    for value in outside:
        matrix = _matrix(1, 1, dtype=dtype, values=[value])
        assert violated(_refused(_operands(matrix, matrix))) == ["operands.left.values"]


@pytest.mark.parametrize(
    "dtype", [pb.DATA_TYPE_FLOAT32, pb.DATA_TYPE_FLOAT64, pb.DATA_TYPE_COMPLEX64]
)
def test_nan_and_infinities_are_data_for_floats(dtype: pb.DataType.ValueType) -> None:
    matrix = _matrix(dtype=dtype, values=[math.nan, math.inf, -math.inf, 0.5])
    check = MatMulCheck()
    check.feed(_operands(matrix, matrix))
    check.end()


def test_the_product_is_readable_where_all_operands_were_inline_and_real() -> None:
    inline = _matrix(values=[1, 2, 3, 4])
    complexes = _matrix(values=[1, 2, 3, 4], dtype=pb.DATA_TYPE_COMPLEX64)
    assert product_format(_operands(inline, inline).operands) == VALUES
    assert product_format(_operands(inline).operands) == DATA
    assert product_format(_operands(complexes, complexes).operands) == DATA
    assert product_format(_random().random) == DATA


def test_the_requested_format_is_returned() -> None:
    inline = _matrix(values=[1, 2, 3, 4])
    assert product_format(_operands(inline, inline, format=DATA).operands) == DATA
    assert product_format(_random(format=VALUES).random) == VALUES


@pytest.mark.parametrize(("dtype", "item_bytes"), ITEM_BYTES.items())
def test_a_matrix_has_as_many_bytes_as_entries_of_its_type(
    dtype: pb.DataType.ValueType, item_bytes: int
) -> None:
    assert matrix_bytes(_matrix(3, 5, dtype=dtype)) == 15 * item_bytes
