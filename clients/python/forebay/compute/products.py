"""Makes the requests of MatMul, and a product from its responses. Needs NumPy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from forebay.compute.arrays import DTYPES, Array, byte_chunks, data_type_of, np
from forebay.compute.assembly import Assembly, OnProgress, StreamingRpc
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ItemsLost


class ProductAssembly(Assembly[pb.MatMulResponse, Array]):
    """A product from its panels."""

    def __init__(self) -> None:
        self._product: Array | None = None
        self._rows = 0

    def add(self, response: pb.MatMulResponse) -> None:
        """Adds a header or a panel; raises ItemsLost if a panel before it is missing."""
        if response.WhichOneof("part") == "header":
            header = response.header
            self._product = np.empty((header.rows, header.cols), DTYPES[header.dtype])
            return
        panel = response.panel
        if self._product is None or panel.first_row != self._rows:
            raise ItemsLost(
                f"a panel of the product is missing: row {panel.first_row} arrived, "
                f"expected row {self._rows}; make a new call"
            )
        after = panel.first_row + panel.rows
        place = self._product[panel.first_row : after]
        flat: Any = panel.values if panel.values else np.frombuffer(panel.data, self._product.dtype)
        place[...] = np.asarray(flat).reshape(place.shape)
        self._rows = after

    def result(self) -> Array:
        """The product; raises ItemsLost if panels are missing."""
        if self._product is None or self._rows != len(self._product):
            raise ItemsLost(f"the product ends after {self._rows} rows; make a new call")
        return self._product


def product_rpc(
    left: Array, right: Array, progress: OnProgress | None
) -> StreamingRpc[pb.MatMulResponse, Array]:
    """The RPC for `left @ right`; raises what `product_requests` raises."""
    return StreamingRpc(product_requests(left, right), ProductAssembly(), progress)


def random_product_rpc(
    m: int, n: int, seed: int | None, dtype: Any, progress: OnProgress | None
) -> StreamingRpc[pb.MatMulResponse, Array]:
    """The product of random matrices; `dtype` is one of NumPy's, by object or name."""
    data_type = data_type_of(np.empty(0, dtype))
    operands = pb.RandomOperands(m=m, n=n, seed=seed, dtype=data_type)
    return StreamingRpc([pb.MatMulRequest(random=operands)], ProductAssembly(), progress)


def product_requests(left: Array, right: Array) -> Iterable[pb.MatMulRequest]:
    """The requests of a product of two arrays: the operands' shapes, then their bytes.

    They can be iterated more than once, so that a retry can send them again.

    Raises ValueError if the arrays are not two matrices whose shapes agree, TypeError if their
    entries have no common data type.
    """
    left, right = np.asarray(left), np.asarray(right)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ValueError(f"matrices of shapes {left.shape} and {right.shape} can't be multiplied")
    return _ProductRequests(left, right, data_type_of(left, right))


@dataclass(frozen=True)
class _ProductRequests:
    left: Array
    right: Array
    dtype: pb.DataType.ValueType

    def __iter__(self) -> Iterator[pb.MatMulRequest]:
        operands = pb.Operands()
        for matrix, array in ((operands.left, self.left), (operands.right, self.right)):
            matrix.dtype, matrix.rows, matrix.cols = self.dtype, *array.shape
        yield pb.MatMulRequest(operands=operands)
        for chunk in byte_chunks(self.left.astype(DTYPES[self.dtype], copy=False)):
            yield pb.MatMulRequest(left_chunk=chunk)
        for chunk in byte_chunks(self.right.astype(DTYPES[self.dtype], copy=False)):
            yield pb.MatMulRequest(right_chunk=chunk)
