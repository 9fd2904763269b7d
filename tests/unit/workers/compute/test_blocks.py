"""A product in blocks: what is computed in one go, and what is worth sharing."""

from __future__ import annotations

import numpy as np
import pytest

from forebay.compute.arrays import CHUNK_BYTES, Array
from forebay_workers.compute import blocks as module
from forebay_workers.compute.blocks import Blocks


def unmade(rows: int, cols: int, dtype: str = "<f8") -> Array:
    """A matrix of that shape that takes no memory."""
    return np.broadcast_to(np.zeros(1, dtype), (rows, cols))


def test_any_worker_computes_the_same_bytes_of_a_block_in_any_order() -> None:
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


@pytest.mark.parametrize(
    ("rows", "inner", "cols", "dtype", "worth"),
    [
        (1000, 1000, 1000, "<f8", False),
        (4000, 4000, 4000, "<f8", False),  # 2.6 s of a core that does 50 GFLOPS
        (4200, 4200, 4200, "<f8", True),
        (11000, 1000, 11000, "<f8", False),  # moving a block takes as long as computing it
        (1600, 1600, 1600, "<i8", False),
        (1640, 1640, 1640, "<i8", True),
        (2400, 750, 2400, "<i4", True),
        (2600, 2600, 2600, "<c16", True),
    ],
)
def test_what_takes_seconds_and_longer_than_to_be_moved_is_worth_sharing(
    rows: int, inner: int, cols: int, dtype: str, worth: bool
) -> None:
    assert Blocks(unmade(rows, inner, dtype), unmade(inner, cols, dtype)).worth_sharing is worth


def test_a_product_that_is_shared_has_many_blocks() -> None:
    blocks = Blocks(unmade(4200, 4200), unmade(4200, 4200))
    assert len(blocks) == 17
    assert blocks.block_bytes <= 16 << 20
