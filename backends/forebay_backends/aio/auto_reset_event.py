"""An asyncio event that resets itself."""

from __future__ import annotations

import asyncio
import contextlib


class AutoResetEvent:
    """An event that `wait` resets: any number of `set` calls end one `wait`."""

    def __init__(self) -> None:
        self._is_set = asyncio.Event()

    def set(self) -> None:
        self._is_set.set()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Returns when the event is set, or after `timeout_s`; resets it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_set.wait()
        self._is_set.clear()
