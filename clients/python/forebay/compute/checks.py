"""The checks of ComputeService's requests. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import FieldViolation, InvalidRequest, OutOfRange, TooLarge

MAX_N = 10_000_000
"""The default limit of n: its factorial has 65,657,060 digits."""
MAX_MATRIX_BYTES = 1 << 30
"""The default limit of a matrix, operand or product, in bytes."""
MAX_ROW_BYTES = 3 << 20
"""The limit of a product's row: a Panel message holds at least one row and at most 4 MiB."""

ITEM_BYTES = {
    pb.DATA_TYPE_FLOAT32: 4,
    pb.DATA_TYPE_FLOAT64: 8,
    pb.DATA_TYPE_INT32: 4,
    pb.DATA_TYPE_INT64: 8,
    pb.DATA_TYPE_COMPLEX64: 8,
    pb.DATA_TYPE_COMPLEX128: 16,
}
"""Bytes of one entry, by data type."""

# The integers allowed in `values`: those are doubles, which are exact up to 2**53.
_INTEGERS = {
    pb.DATA_TYPE_INT32: range(-(1 << 31), 1 << 31),
    pb.DATA_TYPE_INT64: range(-(1 << 53), (1 << 53) + 1),
}
_COMPLEX = frozenset({pb.DATA_TYPE_COMPLEX64, pb.DATA_TYPE_COMPLEX128})


def data_type(dtype: pb.DataType.ValueType) -> pb.DataType.ValueType:
    """The type, or FLOAT64 if the field is unset."""
    return dtype or pb.DATA_TYPE_FLOAT64


def product_format(part: pb.RandomOperands | pb.Operands) -> pb.ProductFormat.ValueType:
    """The product's format. If unset: VALUES for inline operands of real numbers, or DATA."""
    if part.format != pb.PRODUCT_FORMAT_UNSPECIFIED:
        return part.format
    readable = (
        isinstance(part, pb.Operands)
        and bool(part.left.values)
        and bool(part.right.values)
        and data_type(part.left.dtype) not in _COMPLEX
    )
    return pb.PRODUCT_FORMAT_VALUES if readable else pb.PRODUCT_FORMAT_DATA


def matrix_bytes(matrix: pb.Matrix) -> int:
    """The size of a matrix in bytes, without padding."""
    return matrix.rows * matrix.cols * ITEM_BYTES[data_type(matrix.dtype)]


def _at_least_0(option: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{option} is {value!r}; expected a whole number, 0 or more")
    return value


def _invalid(field: str, description: str) -> InvalidRequest:
    return InvalidRequest(
        f"{field} {description}", violations=(FieldViolation(field, description),)
    )


class FactorialCheck:
    """Checks that n is within the limit, and that the encoding is an `IntegerEncoding`."""

    def __init__(self, *, max_n: int = MAX_N) -> None:
        self._max_n = _at_least_0("max_n", max_n)

    def feed(self, request: pb.FactorialRequest) -> None:
        """Raises OutOfRange for n over the limit, InvalidRequest for an unknown encoding."""
        if request.n > self._max_n:
            description = f"is {request.n}, over this server's limit of {self._max_n}"
            raise OutOfRange(f"n {description}", violations=(FieldViolation("n", description),))
        if request.encoding not in pb.IntegerEncoding.values():
            raise _invalid("encoding", f"is {request.encoding}, which is not an IntegerEncoding")

    def end(self) -> None:
        """Does nothing: gRPC itself ensures that there is exactly one request."""


@dataclass
class _Chunks:
    """The bytes of one matrix that have not arrived yet."""

    field: str
    remaining: int

    def take(self, chunk: bytes) -> None:
        if len(chunk) > self.remaining:
            what = (
                "the matrix is inline or complete"
                if not self.remaining
                else f"only {self.remaining} bytes of the matrix are missing"
            )
            raise _invalid(self.field, f"a chunk of {len(chunk)} bytes is too long: {what}")
        self.remaining -= len(chunk)


class MatMulCheck:
    """Checks that operands come first and once, shapes agree, sizes fit, no chunk is missing."""

    def __init__(self, *, max_matrix_bytes: int = MAX_MATRIX_BYTES) -> None:
        self._max_matrix_bytes = _at_least_0("max_matrix_bytes", max_matrix_bytes)
        self._opening = ""
        self._left = _Chunks("left_chunk", 0)
        self._right = _Chunks("right_chunk", 0)

    def feed(self, request: pb.MatMulRequest) -> None:
        """Raises InvalidRequest, or TooLarge if a matrix is over the limit."""
        part = request.WhichOneof("part")
        if part is None:
            raise _invalid("part", "is not set; send `random`, `operands` or a chunk")
        if part in ("random", "operands"):
            self._open(part, request)
        elif not self._opening:
            raise _invalid(part, "came first; send `operands` before chunks")
        elif self._opening == "random":
            raise _invalid(part, "came after `random`; send nothing after it")
        elif part == "left_chunk":
            self._left.take(request.left_chunk)
        else:
            if self._left.remaining:
                raise _invalid(
                    part, f"came while {self._left.remaining} bytes of the left matrix are missing"
                )
            self._right.take(request.right_chunk)

    def end(self) -> None:
        """Raises InvalidRequest if the stream was empty or chunks are missing."""
        if not self._opening:
            raise _invalid("part", "the request stream is empty; send `random` or `operands`")
        for chunks in (self._left, self._right):
            if chunks.remaining:
                raise _invalid(chunks.field, f"{chunks.remaining} bytes of the matrix are missing")

    def _open(self, part: str, request: pb.MatMulRequest) -> None:
        if self._opening:
            raise _invalid(part, f"came after `{self._opening}`; send operands once")
        if part == "random":
            self._check_random(request.random)
        else:
            self._check_operands(request.operands)
        self._opening = part

    def _check_random(self, random: pb.RandomOperands) -> None:
        item_bytes = ITEM_BYTES[_known_dtype("random.dtype", random.dtype)]
        _known_format("random", random, random.dtype)
        for name, size in (("m", random.m), ("n", random.n)):
            if size == 0:
                raise _invalid(f"random.{name}", "is 0; a matrix has at least one row and column")
        self._fits("random.m", "the product", random.m, random.m, item_bytes)
        self._fits("random.n", "an operand", random.m, random.n, item_bytes)

    def _check_operands(self, operands: pb.Operands) -> None:
        left, right = operands.left, operands.right
        for field, matrix in (("operands.left", left), ("operands.right", right)):
            self._check_matrix(field, matrix)
        if data_type(left.dtype) != data_type(right.dtype):
            raise _invalid(
                "operands.right.dtype",
                f"is {pb.DataType.Name(data_type(right.dtype))}, the left matrix is "
                f"{pb.DataType.Name(data_type(left.dtype))}; they must be the same",
            )
        if left.cols != right.rows:
            raise _invalid(
                "operands.right.rows", f"is {right.rows}, but the left matrix has {left.cols} cols"
            )
        _known_format("operands", operands, left.dtype)
        item_bytes = ITEM_BYTES[data_type(left.dtype)]
        self._fits("operands", "the product", left.rows, right.cols, item_bytes)
        self._row_fits(right.cols, operands, item_bytes)
        self._left.remaining = 0 if left.values else matrix_bytes(left)
        self._right.remaining = 0 if right.values else matrix_bytes(right)

    def _check_matrix(self, field: str, matrix: pb.Matrix) -> None:
        item_bytes = ITEM_BYTES[_known_dtype(f"{field}.dtype", matrix.dtype)]
        for name, size in (("rows", matrix.rows), ("cols", matrix.cols)):
            if size == 0:
                raise _invalid(f"{field}.{name}", "is 0; a matrix has at least one")
        self._fits(field, "it", matrix.rows, matrix.cols, item_bytes)
        if matrix.values and len(matrix.values) != matrix.rows * matrix.cols:
            raise _invalid(
                f"{field}.values",
                f"has {len(matrix.values)} entries, rows × cols is {matrix.rows * matrix.cols}",
            )
        integers = _INTEGERS.get(data_type(matrix.dtype))
        if integers is not None:
            for value in matrix.values:
                if not value.is_integer() or int(value) not in integers:
                    raise _invalid(
                        f"{field}.values",
                        f"has {value:.17g}, which is not a whole number of its type",
                    )

    def _row_fits(self, cols: int, operands: pb.Operands, item_bytes: int) -> None:
        if product_format(operands) == pb.PRODUCT_FORMAT_VALUES:
            item_bytes = 8  # values are doubles, whatever the matrix's type
        if cols * item_bytes > MAX_ROW_BYTES:
            field = "operands.right.cols"
            description = f"is {cols}; a row of the product is limited to {MAX_ROW_BYTES} bytes"
            raise TooLarge(
                f"{field} {description}", violations=(FieldViolation(field, description),)
            )

    def _fits(self, field: str, what: str, rows: int, cols: int, item_bytes: int) -> None:
        size = rows * cols * item_bytes
        if size > self._max_matrix_bytes:
            description = (
                f"is too large: {what} would be {rows}×{cols} entries, {size} bytes; "
                f"this server's limit is {self._max_matrix_bytes} bytes a matrix"
            )
            raise TooLarge(
                f"{field} {description}", violations=(FieldViolation(field, description),)
            )


def _known_dtype(field: str, dtype: pb.DataType.ValueType) -> pb.DataType.ValueType:
    if data_type(dtype) not in ITEM_BYTES:
        raise _invalid(field, f"is {dtype}, which is not a DataType")
    return data_type(dtype)


def _known_format(
    field: str, part: pb.RandomOperands | pb.Operands, dtype: pb.DataType.ValueType
) -> None:
    if part.format not in pb.ProductFormat.values():
        raise _invalid(f"{field}.format", f"is {part.format}, which is not a ProductFormat")
    if part.format == pb.PRODUCT_FORMAT_VALUES and data_type(dtype) in _COMPLEX:
        raise _invalid(f"{field}.format", "is VALUES, which is for real types; set DATA")
