"""Tells coroutine handlers from ordinary ones, by the rule of `grpc.aio.server`."""

from __future__ import annotations

import inspect
from typing import Any


def is_coroutine(handler: Any) -> bool:
    """Whether a handler is an `async def`: a coroutine function or an async generator function.

    A function that merely returns a coroutine is an ordinary handler, as in `grpc.aio.server`.
    """
    return inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler)
