"""Calls a function if a block takes too long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer


@contextmanager
def if_longer(seconds: float, call: Callable[..., object], *arguments: object) -> Iterator[None]:
    """Calls `call` with the arguments, in another thread, if the block takes over `seconds`."""
    timer = Timer(seconds, call, arguments)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
