"""Measures how long round trips of operations take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from forebay_backends.ledger.operations.base import Operation

Observe = Callable[[str, float], None]
"""Gets the name of an operation's script, and how many seconds its round trip took."""


def observed(
    observe: Observe | None, operations: Sequence[Operation[Any]]
) -> AbstractContextManager[None]:
    """Measures the block, one round trip; calls `observe` once for each script that it runs."""
    return nullcontext() if observe is None else _observed(observe, operations)


@contextmanager
def _observed(observe: Observe, operations: Sequence[Operation[Any]]) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = time.monotonic() - began
        for script in {operation.script for operation in operations}:
            observe(script, seconds)
