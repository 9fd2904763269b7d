"""Work on large messages in a thread, so that the event loop serves others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

_LARGE_BYTES = 64 << 10

P = ParamSpec("P")
R = TypeVar("R")


async def worked(size: int, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Does `work` on a message of `size` bytes, in a thread if it is large; returns its result.

    Large messages take turns, because parsed JSON takes many times the memory of its text.
    """
    if size < _LARGE_BYTES:
        return work(*args, **kwargs)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_thread(), partial(work, *args, **kwargs))


@cache
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="web-messages")
