"""A bell: rung where there is news, waited for by one who looks then."""

from __future__ import annotations

import asyncio
import contextlib


class AutoResetEvent:
    """Rings until it was heard, once for any number of rings."""

    def __init__(self) -> None:
        self._is_set = asyncio.Event()

    def set(self) -> None:
        """There is news."""
        self._is_set.set()

    async def wait(self, timeout_s: float | None = None) -> None:
        """Returns when there is news, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._is_set.wait()
        self._is_set.clear()
