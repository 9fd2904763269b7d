"""Operands whose product is the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np


def exact(
    generator: np.random.Generator, rows: int, cols: int, dtype: Any = np.float64
) -> np.ndarray[Any, Any]:
    """Whole numbers of some hundreds: whatever the CPU, the number of threads and the order in
    which products are summed, nothing is rounded.
    """
    return np.rint(generator.normal(size=(rows, cols)) * 100).astype(dtype)
