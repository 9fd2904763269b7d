"""What is done without making anyone wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine


class BackgroundTasks:
    """Tasks that nobody awaits, kept until they have ended."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, errand: Coroutine[None, None, None]) -> None:
        """Begins it, and returns."""
        task = asyncio.create_task(errand)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def join(self, timeout_s: float) -> None:
        """Returns when all have ended, or after so long."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
