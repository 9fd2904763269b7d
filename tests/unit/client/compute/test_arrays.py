"""Matrices as arrays and as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.compute.arrays import CHUNK_BYTES, DTYPES, byte_chunks, data_type_of
from forebay.compute.checks import ITEM_BYTES
from forebay.compute.v1 import compute_pb2 as pb

F32, F64, I32, I64, C64, C128 = (
    pb.DATA_TYPE_FLOAT32,
    pb.DATA_TYPE_FLOAT64,
    pb.DATA_TYPE_INT32,
    pb.DATA_TYPE_INT64,
    pb.DATA_TYPE_COMPLEX64,
    pb.DATA_TYPE_COMPLEX128,
)


def test_every_data_type_has_an_array_type_of_its_size_little_endian() -> None:
    assert set(DTYPES) == set(pb.DataType.values()) - {pb.DATA_TYPE_UNSPECIFIED}
    assert {number: dtype.itemsize for number, dtype in DTYPES.items()} == ITEM_BYTES
    assert all(dtype == dtype.newbyteorder("<") for dtype in DTYPES.values())


@pytest.mark.parametrize(
    ("names", "data_type"),
    [
        *(((dtype.name,), number) for number, dtype in DTYPES.items()),
        ((">f8",), F64),
        ((">i4",), I32),
        ((">f2",), F32),
        (("bool",), I32),
        (("int8",), I32),
        (("uint16",), I32),
        (("uint32",), I64),
        (("float16",), F32),
        (("int32", "int64"), I64),
        (("int32", "float32"), F64),
        (("float32", "float32"), F32),
        (("float32", "float64"), F64),
        (("float32", "complex64"), C64),
        (("float64", "complex64"), C128),
        (("bool", "float32"), F32),
        (("uint64", "int64"), F64),
    ],
)
def test_the_type_that_holds_all_entries(
    names: tuple[str, ...], data_type: pb.DataType.ValueType
) -> None:
    assert data_type_of(*(np.zeros((1, 1), name) for name in names)) == data_type


@pytest.mark.parametrize(
    "names", [("uint64",), ("<U3",), ("object",), ("datetime64[s]",), ("datetime64[s]", "float64")]
)
def test_entries_that_cannot_be_multiplied_are_a_type_error(names: tuple[str, ...]) -> None:
    with pytest.raises(TypeError):
        data_type_of(*(np.zeros((1, 1), name) for name in names))


def test_a_refused_type_is_named_with_those_that_are_served() -> None:
    with pytest.raises(TypeError, match=r"<U3 .*float32, float64, int32"):
        data_type_of(np.zeros(1, "<U3"))


@pytest.mark.parametrize("order", ["C", "F"])
def test_bytes_are_row_major_whatever_the_arrays_own_order(order: str) -> None:
    array = np.asarray(np.arange(6.0).reshape(2, 3), order=order)  # type: ignore[call-overload]
    assert b"".join(byte_chunks(array)) == np.arange(6.0).tobytes()


def test_chunks_are_full_but_for_the_last() -> None:
    array = np.arange(2 * CHUNK_BYTES // 8 + 1, dtype="<i8").reshape(1, -1)
    chunks = list(byte_chunks(array))
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 8]
    assert b"".join(chunks) == array.tobytes()


def test_a_view_into_a_larger_array_gives_its_own_bytes_alone() -> None:
    large = np.arange(12, dtype="<i4").reshape(3, 4)
    assert b"".join(byte_chunks(large[:, 1:3])) == large[:, 1:3].copy().tobytes()
