"""Limits how many large messages are sent to a broker at once.

JSON, base64 and socket buffers hold up to ten copies of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S

LARGE_ABOVE_BYTES = 64 * 1024
_AT_A_TIME = 1


class LargeSends:
    """Gives turns to the large messages that a gateway builds and sends to a broker."""

    def __init__(self) -> None:
        self._sending = asyncio.Semaphore(_AT_A_TIME)

    @asynccontextmanager
    async def turn(self, size: int) -> AsyncIterator[None]:
        """Waits until a message of `size` bytes may be sent; small ones never wait.

        Raises BackendUnavailable after the time limit of one command.
        """
        if size <= LARGE_ABOVE_BYTES:
            yield
            return
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await self._sending.acquire()
        except TimeoutError:
            raise BackendUnavailable("the broker is too slow for the large messages") from None
        try:
            yield
        finally:
            self._sending.release()
