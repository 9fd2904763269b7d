"""Measures how late the event loop runs callbacks that are due."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_INTERVAL_S = 0.1


async def watch_event_loop_lag(observe: Callable[[float], None]) -> None:
    """Observes the lag, in seconds, until cancelled.

    Not by `run_periodically`: it measures how late the loop itself wakes, after an exact pause.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _INTERVAL_S
        await asyncio.sleep(_INTERVAL_S)
        observe(max(0.0, loop.time() - due))
