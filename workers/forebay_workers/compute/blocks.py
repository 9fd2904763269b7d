"""Computes a product of matrices in blocks of rows."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.compute.arrays import CHUNK_BYTES, Array

WHOLE_FLOPS = {"f": 2 << 33, "c": 2 << 31, "i": 2 << 29}
"""Products of at most this many operations are one block, which takes about 1 s.

The keys are NumPy's `dtype.kind`.
"""

_BLOCK_ROWS = 256
_BLOCK_PANELS = 16  # 16 MiB, or up to 48 MiB if each panel is one long row


class Blocks:
    """A product of two matrices, computed block by block, each block as panels.

    A panel is as many consecutive rows as fit into a message, or one row; a block is one or more
    panels. The boundaries depend only on the matrices' shapes and type.
    """

    def __init__(self, left: Array, right: Array) -> None:
        self._left = left
        self._right = right
        self._row_bytes: int = right.shape[1] * right.itemsize
        self._panel_rows: int = max(1, CHUNK_BYTES // self._row_bytes)
        self._flops: int = 2 * left.shape[0] * left.shape[1] * right.shape[1]
        self._whole: int = WHOLE_FLOPS[left.dtype.kind]
        self._rows = self._rows_at_once()

    def __len__(self) -> int:
        return -(-len(self._left) // self._rows)

    def panels(self, block: int) -> Sequence[memoryview]:
        """Computes a block, and returns the bytes of its panels, row-major."""
        first = block * self._rows
        product = self._left[first : first + self._rows] @ self._right
        return [
            product[start : start + self._panel_rows].data.cast("B")
            for start in range(0, len(product), self._panel_rows)
        ]

    def _rows_at_once(self) -> int:
        """Returns the number of rows of a block: whole panels, or all rows.

        BLAS copies the whole right operand for each block, so a block should have many rows.
        """
        if self._flops <= self._whole:
            return len(self._left)
        integers = self._left.dtype.kind == "i"  # NumPy multiplies them without BLAS
        panels = 1 if integers else min(_BLOCK_PANELS, max(1, _BLOCK_ROWS // self._panel_rows))
        return panels * self._panel_rows
