"""Cancelling that holds where libraries lose cancellations.

redis-py sends through `asyncio.wait_for`, which, before Python 3.12, loses a cancellation
that comes as what it waits for ends (https://github.com/python/cpython/issues/86296).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import Any, TypeVar

R = TypeVar("R")

_AGAIN_AFTER_S = 0.5


async def cancellable(asked: Awaitable[R]) -> R:
    """What is asked for; raises CancelledError where a cancellation got lost on the way."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    answer = await asked
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return answer


async def cancel_all(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels the tasks, again and again, until all have ended; raises nothing of theirs."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=_AGAIN_AFTER_S)
