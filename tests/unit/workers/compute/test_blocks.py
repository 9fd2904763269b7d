"""A product in blocks of rows."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.compute.arrays import CHUNK_BYTES, Array
from forebay_workers.compute import blocks as module
from forebay_workers.compute.blocks import Blocks


def unmade(rows: int, cols: int, dtype: str = "<f8") -> Array:
    """A matrix of that shape that uses no memory."""
    return np.broadcast_to(np.zeros(1, dtype), (rows, cols))


def test_blocks_have_the_same_bytes_in_any_order() -> None:
    generator = np.random.default_rng(1)
    left, right = generator.random((700, 300)), generator.random((300, 2000))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WHOLE_FLOPS", {"f": 0})
        one, other = Blocks(left, right), Blocks(left.copy(), right.copy())
    assert len(one) > 2
    forwards = [[bytes(panel) for panel in one.panels(block)] for block in range(len(one))]
    backwards = [[bytes(panel) for panel in other.panels(b)] for b in reversed(range(len(one)))]
    assert forwards == backwards[::-1]
    assert sum(len(panel) for panels in forwards for panel in panels) == 700 * 2000 * 8
    assert max(len(panel) for panels in forwards for panel in panels) <= CHUNK_BYTES


def test_a_product_that_takes_seconds_has_many_blocks() -> None:
    blocks = Blocks(unmade(4200, 4200), unmade(4200, 4200))
    assert len(blocks) == 17


@pytest.mark.parametrize(
    ("dtype", "rows", "common", "cols"),
    [
        ("<f8", 1 << 12, 1 << 10, 1 << 11),
        ("<f4", 1 << 11, 1 << 10, 1 << 12),
        ("<c16", 1 << 11, 1 << 9, 1 << 11),
        ("<i8", 1 << 10, 1 << 9, 1 << 10),
    ],
)
def test_a_product_of_a_second_is_computed_whole(
    dtype: str, rows: int, common: int, cols: int
) -> None:
    assert len(Blocks(unmade(rows, common, dtype), unmade(common, cols, dtype))) == 1
    more = common + 1
    assert len(Blocks(unmade(rows, more, dtype), unmade(more, cols, dtype))) > 1


@pytest.mark.parametrize(("panels_a_row", "rows_a_block"), [(1, 16), (2, 16)])
def test_a_block_of_long_rows_has_16_panels(panels_a_row: int, rows_a_block: int) -> None:
    cols = panels_a_row * CHUNK_BYTES // 8
    assert len(Blocks(unmade(1600, 1000), unmade(1000, cols))) == 1600 // rows_a_block
