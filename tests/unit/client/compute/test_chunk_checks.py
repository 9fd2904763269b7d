"""The check of a MatMul's request stream: the order and the size of messages."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from forebay.compute.checks import MatMulCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ForebayError, InvalidRequest
from tests.unit.samples import violated

ROWS, INNER, COLS = 3, 2, 4
LEFT_BYTES, RIGHT_BYTES = ROWS * INNER * 8, INNER * COLS * 8

RANDOM = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2))
OPERANDS = pb.MatMulRequest(
    operands=pb.Operands(
        left=pb.Matrix(rows=ROWS, cols=INNER), right=pb.Matrix(rows=INNER, cols=COLS)
    )
)
INLINE = pb.MatMulRequest(
    operands=pb.Operands(
        left=pb.Matrix(rows=1, cols=1, values=[1]), right=pb.Matrix(rows=1, cols=1, values=[1])
    )
)


def _left(size: int) -> pb.MatMulRequest:
    return pb.MatMulRequest(left_chunk=bytes(size))


def _right(size: int) -> pb.MatMulRequest:
    return pb.MatMulRequest(right_chunk=bytes(size))


def _run(*requests: pb.MatMulRequest) -> None:
    check = MatMulCheck()
    for request in requests:
        check.feed(request)
    check.end()


def _refused(*requests: pb.MatMulRequest) -> ForebayError:
    with pytest.raises(InvalidRequest) as caught:
        _run(*requests)
    return caught.value


def _split(draw: st.DrawFn, total: int) -> list[int]:
    """Sizes that add up to the total; some may be 0."""
    cuts = sorted(draw(st.lists(st.integers(0, total), max_size=6)))
    return [end - start for start, end in zip([0, *cuts], [*cuts, total], strict=True)]


@st.composite
def _splittings(draw: st.DrawFn, total: int) -> list[int]:
    return _split(draw, total)


@given(_splittings(LEFT_BYTES), _splittings(RIGHT_BYTES))
def test_any_splitting_of_the_right_bytes_passes(left: list[int], right: list[int]) -> None:
    _run(OPERANDS, *map(_left, left), *map(_right, right))


@st.composite
def _wrong_totals(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    left = draw(st.integers(0, 2 * LEFT_BYTES))
    right = draw(st.integers(0, 2 * RIGHT_BYTES))
    assume((left, right) != (LEFT_BYTES, RIGHT_BYTES))
    return _split(draw, left), _split(draw, right)


@given(_wrong_totals())
def test_any_wrong_total_fails_and_names_the_matrix(sizes: tuple[list[int], list[int]]) -> None:
    left, right = sizes
    # The error of a right chunk that comes before the left matrix is complete is about that chunk.
    blamed = "left_chunk" if sum(left) > LEFT_BYTES else "right_chunk"
    error = _refused(OPERANDS, *map(_left, left), *map(_right, right))
    assert violated(error) == [blamed]


@pytest.mark.parametrize(
    ("requests", "field", "says"),
    [
        ((), "part", "empty"),
        ((_left(8),), "left_chunk", "first"),
        ((_right(8),), "right_chunk", "first"),
        ((RANDOM, RANDOM), "random", "once"),
        ((RANDOM, OPERANDS), "operands", "once"),
        ((RANDOM, _left(0)), "left_chunk", "send nothing after it"),
        ((RANDOM, _right(0)), "right_chunk", "send nothing after it"),
        ((OPERANDS, OPERANDS), "operands", "once"),
        ((OPERANDS, _left(LEFT_BYTES), RANDOM), "random", "once"),
        ((OPERANDS, pb.MatMulRequest()), "part", "not set"),
        ((OPERANDS,), "left_chunk", f"{LEFT_BYTES} bytes"),
        ((OPERANDS, _left(LEFT_BYTES)), "right_chunk", f"{RIGHT_BYTES} bytes"),
        ((OPERANDS, _left(LEFT_BYTES - 1)), "left_chunk", "1 bytes"),
        ((OPERANDS, _left(LEFT_BYTES + 1)), "left_chunk", "too long"),
        ((OPERANDS, _left(LEFT_BYTES), _left(1)), "left_chunk", "too long"),
        ((OPERANDS, _left(LEFT_BYTES), _right(RIGHT_BYTES + 1)), "right_chunk", "too long"),
        ((OPERANDS, _right(8)), "right_chunk", "left matrix"),
        ((OPERANDS, _left(LEFT_BYTES - 1), _right(8)), "right_chunk", "left matrix"),
        ((INLINE, _left(8)), "left_chunk", "inline"),
        ((INLINE, _right(8)), "right_chunk", "inline"),
    ],
)
def test_a_message_out_of_order_is_refused_with_its_reason(
    requests: tuple[pb.MatMulRequest, ...], field: str, says: str
) -> None:
    error = _refused(*requests)
    assert violated(error) == [field]
    assert says in error.message


def test_inline_operands_need_no_chunks() -> None:
    _run(INLINE)


def test_one_matrix_may_be_inline_and_the_other_in_chunks() -> None:
    mixed = pb.MatMulRequest()
    mixed.CopyFrom(OPERANDS)
    mixed.operands.left.values.extend([0.0] * (ROWS * INNER))
    _run(mixed, _right(RIGHT_BYTES))
    assert violated(_refused(mixed, _left(8))) == ["left_chunk"]


def test_chunks_need_not_end_where_an_entry_does() -> None:
    _run(OPERANDS, _left(LEFT_BYTES - 3), _left(3), _right(1), _right(RIGHT_BYTES - 1))
