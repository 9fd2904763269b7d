"""A bell: rung where there is news, waited for by one who looks then."""

from __future__ import annotations

import asyncio
import contextlib


class Bell:
    """Rings until it was heard, once for any number of rings."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()

    def ring(self) -> None:
        """There is news."""
        self._rung.set()

    async def news(self, timeout_s: float | None = None) -> None:
        """Returns when there is news, or after so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._rung.wait()
        self._rung.clear()
