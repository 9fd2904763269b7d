"""Background tasks, which no other task awaits."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import Context


class BackgroundTasks:
    """Holds references to running tasks, which asyncio itself would not keep alive."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[None]] = set()

    def start(self, coroutine: Coroutine[None, None, None]) -> None:
        """Starts the coroutine as a task.

        It starts without the caller's context variables, because it may serve other calls as well.
        """
        task = asyncio.create_task(coroutine, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def join(self, timeout_s: float) -> None:
        """Returns when all tasks have ended, or after `timeout_s`."""
        if self._running:
            await asyncio.wait(self._running, timeout=timeout_s)
