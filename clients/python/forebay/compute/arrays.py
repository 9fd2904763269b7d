"""Matrices as NumPy arrays and as bytes. Needs NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

try:
    import numpy as np
    from numpy.typing import NDArray
except ImportError as error:  # pragma: no cover - tried in an environment without NumPy
    raise ImportError(
        "matrix calls need NumPy, which is not installed: pip install 'forebay[matrix]'"
    ) from error

from forebay.compute.v1 import compute_pb2 as pb

__all__ = ["CHUNK_BYTES", "DTYPES", "Array", "byte_chunks", "data_type_of", "np"]

Array: TypeAlias = "NDArray[Any]"

CHUNK_BYTES = 1 << 20
"""The most bytes of a matrix in one request message."""

DTYPES: dict[int, np.dtype[Any]] = {
    pb.DATA_TYPE_FLOAT32: np.dtype("<f4"),
    pb.DATA_TYPE_FLOAT64: np.dtype("<f8"),
    pb.DATA_TYPE_INT32: np.dtype("<i4"),
    pb.DATA_TYPE_INT64: np.dtype("<i8"),
    pb.DATA_TYPE_COMPLEX64: np.dtype("<c8"),
    pb.DATA_TYPE_COMPLEX128: np.dtype("<c16"),
}
"""The NumPy data type of each DataType; little-endian, as on the wire."""
_DATA_TYPES = {dtype: data_type for data_type, dtype in DTYPES.items()}


def data_type_of(*arrays: Array) -> pb.DataType.ValueType:
    """The smallest data type that holds all entries of the arrays.

    Raises TypeError if there is none, such as for strings.
    """
    common = np.result_type(*arrays)
    if (common.kind in "bu" and common.itemsize < 8) or common.kind == "i":
        common = np.promote_types(common, np.int32)
    elif common == np.float16:
        common = np.dtype(np.float32)
    found = _DATA_TYPES.get(common.newbyteorder("<"))
    if found is None:
        raise TypeError(
            f"entries of type {common} can't be multiplied; "
            f"convert to one of {', '.join(dtype.name for dtype in DTYPES.values())}"
        )
    return pb.DataType.ValueType(found)


def byte_chunks(array: Array) -> Iterator[bytes]:
    """The array's bytes, row-major, in chunks of CHUNK_BYTES."""
    view = np.ascontiguousarray(array).data.cast("B")
    for start in range(0, len(view), CHUNK_BYTES):
        yield bytes(view[start : start + CHUNK_BYTES])
