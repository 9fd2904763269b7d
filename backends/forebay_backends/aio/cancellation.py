"""Cancellation that works even if a library swallows CancelledError."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

R = TypeVar("R")

_RECANCEL_INTERVAL_S = 0.5


async def raise_lost_cancellation(awaitable: Awaitable[R]) -> R:
    """Awaits; raises CancelledError if the awaitable swallowed a cancellation of this task.

    That comes before the awaitable's result and before its error: whoever handles the error, and
    tries again, would never learn of the cancellation.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    try:
        result = await awaitable
    except Exception as error:
        if task is not None and task.cancelling() > before:
            raise asyncio.CancelledError from error
        raise
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


async def cancellable(awaitable: Awaitable[R]) -> R:
    """Awaits a redis-py command or subscription. Delete it when Python 3.11 is dropped.

    redis-py sends through `asyncio.wait_for`, which before Python 3.12 loses a cancellation
    that arrives just as the awaited operation ends
    (https://github.com/python/cpython/issues/86296).
    """
    if sys.version_info >= (3, 12):
        return await awaitable
    return await raise_lost_cancellation(awaitable)


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks until all have ended, however many cancellations they swallow.

    Raises none of their exceptions.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_RECANCEL_INTERVAL_S)
