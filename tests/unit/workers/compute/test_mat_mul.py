"""MatMul's arithmetic: the operands of a seed, and the product in panels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from forebay.compute.arrays import CHUNK_BYTES, DTYPES, Array, byte_chunks, data_type_of
from forebay.compute.v1 import compute_pb2 as pb
from forebay_workers.compute import blocks as module
from forebay_workers.compute.mat_mul import mat_mul, random_operands, seed_from
from tests.unit.samples import context

SEED = 42
_MASK = (1 << 64) - 1


def _philox(seed: int, count: int) -> list[int]:
    """Philox 4x64-10 by its paper (Salmon et al. 2011), counting blocks from 1."""
    words: list[int] = []
    for block in range(1, count // 4 + 2):
        a, b, c, d = block, 0, 0, 0
        key0, key1 = seed, 0
        for _ in range(10):
            left, right = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
            a, b, c, d = (
                (right >> 64) ^ b ^ key0,
                right & _MASK,
                (left >> 64) ^ d ^ key1,
                left & _MASK,
            )
            key0, key1 = (key0 + 0x9E3779B97F4A7C15) & _MASK, (key1 + 0xBB67AE8584CAA73B) & _MASK
        words += [a, b, c, d]
    return words[:count]


def _double(word: int) -> float:
    return (word >> 11) * 2.0**-53


def _single(word: int) -> float:
    return (word >> 40) * 2.0**-24


def _bit(word: int) -> int:
    return word >> 63


_ENTRY: dict[int, Callable[[int], float]] = {
    pb.DATA_TYPE_FLOAT32: _single,
    pb.DATA_TYPE_FLOAT64: _double,
    pb.DATA_TYPE_INT32: _bit,
    pb.DATA_TYPE_INT64: _bit,
    pb.DATA_TYPE_COMPLEX64: _single,
    pb.DATA_TYPE_COMPLEX128: _double,
}


def _random(m: int, n: int, dtype: int = pb.DATA_TYPE_FLOAT64, **more: Any) -> pb.RandomOperands:
    return pb.RandomOperands(m=m, n=n, dtype=pb.DataType.ValueType(dtype), **more)


def _answers(
    *requests: pb.MatMulRequest, metadata: Sequence[tuple[str, str]] = ()
) -> list[pb.MatMulResponse]:
    answers = mat_mul(iter(requests), context(metadata=metadata))
    return [answer for answer in answers if answer.WhichOneof("part") != "progress"]


def _product(answers: list[pb.MatMulResponse]) -> Array:
    """The product, put together from panels that follow each other."""
    header, *panels = answers
    shape, rows = (header.header.rows, header.header.cols), 0
    for answer in panels:
        assert answer.panel.first_row == rows
        rows += answer.panel.rows
    data = b"".join(answer.panel.data for answer in panels)
    return np.frombuffer(data, DTYPES[header.header.dtype]).reshape(shape)


def _requests(left: Array, right: Array, dtype: int) -> Iterator[pb.MatMulRequest]:
    operands = pb.Operands()
    for matrix, array in ((operands.left, left), (operands.right, right)):
        matrix.dtype, matrix.rows, matrix.cols = pb.DataType.ValueType(dtype), *array.shape
    yield pb.MatMulRequest(operands=operands)
    yield from (pb.MatMulRequest(left_chunk=chunk) for chunk in byte_chunks(left))
    yield from (pb.MatMulRequest(right_chunk=chunk) for chunk in byte_chunks(right))


def test_the_golden_values_of_a_seed() -> None:
    # Pinned: they must never change, or one seed would give two products.
    left, right = random_operands(_random(1, 2), SEED)
    assert left.tolist() == [[0.8201981478608876, 0.18924562408645496]]
    assert right.tolist() == [[0.8676608148821462], [0.3945814702827203]]


@pytest.mark.parametrize("seed", [0, SEED, _MASK])
@pytest.mark.parametrize("dtype", DTYPES)
def test_operands_are_filled_from_the_seeds_words_a_before_b(dtype: int, seed: int) -> None:
    left, right = random_operands(_random(2, 3, dtype), seed)
    assert (left.shape, right.shape) == ((2, 3), (3, 2))
    assert left.dtype == right.dtype == DTYPES[dtype]
    parts = 2 if left.dtype.kind == "c" else 1
    flat = np.concatenate([left.ravel(), right.ravel()])
    numbers = flat.view(f"<f{flat.itemsize // 2}") if parts == 2 else flat
    assert numbers.tolist() == [_ENTRY[dtype](word) for word in _philox(seed, 12 * parts)]


def test_an_unset_type_is_float64() -> None:
    unset, _ = random_operands(_random(2, 2, pb.DATA_TYPE_UNSPECIFIED), SEED)
    assert unset.dtype == np.float64


def test_two_seeds_give_two_products() -> None:
    one, other = (random_operands(_random(4, 4), seed)[0] for seed in (1, 2))
    assert not np.array_equal(one, other)


def test_a_calls_own_seed_is_pinned_and_depends_on_its_id() -> None:
    # The first 16 digits of `printf call-1 | sha256sum`.
    assert seed_from("call-1") == 0x5D7963C4F471E142
    assert seed_from("call-1") != seed_from("call-2")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_product_computed_whole_is_numpys(dtype: int) -> None:
    random = _random(40, 30, dtype, seed=SEED)
    answers = _answers(pb.MatMulRequest(random=random))
    assert answers[0].header == pb.MatrixHeader(
        dtype=pb.DataType.ValueType(dtype), rows=40, cols=40, seed=SEED
    )
    left, right = random_operands(random, SEED)
    assert np.array_equal(_product(answers), left @ right)


def test_without_a_seed_the_call_id_gives_one_which_the_header_has() -> None:
    request = pb.MatMulRequest(random=_random(2, 2))
    answers = _answers(request, metadata=[("forebay-call-id", "call-1")])
    assert answers[0].header.seed == seed_from("call-1")
    assert _answers(request, metadata=[("forebay-call-id", "call-1")]) == answers
    assert _answers(request, metadata=[("forebay-call-id", "call-2")]) != answers


def test_a_seed_of_zero_is_a_seed() -> None:
    answers = _answers(pb.MatMulRequest(random=_random(1, 1, seed=0)))
    assert answers[0].header.HasField("seed")
    assert answers[0].header.seed == 0


@pytest.mark.parametrize("dtype", ["<i8", "<f8", "<c16"])
@pytest.mark.parametrize("whole", [True, False])
def test_panels_hold_a_chunk_of_rows_each_however_the_product_is_computed(
    monkeypatch: pytest.MonkeyPatch, whole: bool, dtype: str
) -> None:
    if not whole:
        monkeypatch.setattr(module, "WHOLE_FLOPS", {"f": 0, "c": 0, "i": 0})
    # Whole numbers: their sums are exact, in whatever order.
    left = np.arange(600 * 3).reshape(600, 3).astype(dtype)
    right = np.arange(3 * 2000).reshape(3, 2000).astype(dtype)
    answers = _answers(*_requests(left, right, data_type_of(left)))
    rows = CHUNK_BYTES // (2000 * left.itemsize)
    expected = [rows] * (600 // rows) + [600 % rows]
    assert [answer.panel.rows for answer in answers[1:]] == expected
    assert np.array_equal(_product(answers), left @ right)


def test_a_row_larger_than_a_chunk_is_a_panel_of_its_own() -> None:
    cols = CHUNK_BYTES // 4 + 1
    answers = _answers(
        *_requests(np.ones((2, 1), "<f4"), np.ones((1, cols), "<f4"), pb.DATA_TYPE_FLOAT32)
    )
    assert [answer.panel.rows for answer in answers[1:]] == [1, 1]


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_callers_own_matrices_are_multiplied_from_chunks(dtype: int) -> None:
    left, right = random_operands(_random(5, 7, dtype), SEED)
    answers = _answers(*_requests(left, right, dtype))
    assert not answers[0].header.HasField("seed")
    assert np.array_equal(_product(answers), left @ right)


def test_inline_matrices_give_readable_values() -> None:
    left = pb.Matrix(rows=2, cols=2, values=[1, 2, 3, 4], dtype=pb.DATA_TYPE_INT64)
    right = pb.Matrix(rows=2, cols=1, values=[5, 6], dtype=pb.DATA_TYPE_INT64)
    _, answer = _answers(pb.MatMulRequest(operands=pb.Operands(left=left, right=right)))
    assert answer.panel == pb.Panel(first_row=0, rows=2, values=[17, 39])


def test_integer_products_wrap_around() -> None:
    big = np.full((1, 1), 2**31 - 1, "<i4")
    answers = _answers(*_requests(big, np.full((1, 1), 2, "<i4"), pb.DATA_TYPE_INT32))
    assert _product(answers).tolist() == [[-2]]
