"""The lame-duck time: health reports NOT_SERVING, and calls are still accepted.

Load balancers need a few seconds to send calls elsewhere. If the port closed at once, calls that
they still send here would fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable

SKIP_LAME_DUCK = signal.SIGUSR1
"""The signal that the parent sends to one of several gateway processes."""


class LameDuck:
    """The lame-duck time of one gateway; ends after `lame_duck_s`, or when it is skipped."""

    def __init__(self, lame_duck_s: float) -> None:
        self.lame_duck_s = lame_duck_s
        self.on_over: list[Callable[[], None]] = []
        """Called once, when the time is over or skipped; never if there is none."""
        self._is_over = asyncio.Event()
        if not lame_duck_s:
            self._is_over.set()

    @property
    def is_over(self) -> bool:
        return self._is_over.is_set()

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.lame_duck_s):
                await self._is_over.wait()
        self.skip()

    def skip(self) -> None:
        """Ends it now, even before it began."""
        if not self._is_over.is_set():
            self._is_over.set()
            for call in self.on_over:
                call()
