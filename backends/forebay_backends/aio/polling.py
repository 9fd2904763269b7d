"""Polls conditions that no event announces."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_POLL_INTERVAL_S = 0.02


async def poll_until(condition: Callable[[], bool], within_s: float) -> None:
    """Returns when the condition holds, or after `within_s`."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within_s
    while not condition() and loop.time() < give_up:  # noqa: ASYNC110 - it has no event
        await asyncio.sleep(_POLL_INTERVAL_S)
