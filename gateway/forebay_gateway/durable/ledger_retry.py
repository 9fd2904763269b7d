"""Retries of ledger operations for calls that are in flight.

While the ledger is unavailable, a new call fails at once, so that its caller can try elsewhere.
A call that was accepted waits: every other gateway has the same outage, and the call is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from forebay.errors import BackendUnavailable, Draining
from forebay.jitter import between
from forebay.metadata import CALL_ID
from forebay_backends.ledger.errors import RETRY_DELAY_S, RETRY_FOR_S
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admission.admission import RETRY_AFTER_S

T = TypeVar("T")


class LedgerRetry:
    """Retries until the ledger answers, `RETRY_FOR_S` is over, or the gateway drains."""

    def __init__(self) -> None:
        self._draining = asyncio.Event()

    @property
    def is_draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining.is_set()

    def drain(self) -> None:
        """Ends all retries: from now on nothing is retried."""
        self._draining.set()

    def raise_if_draining(self, call: CallKey) -> None:
        """Raises Draining, with the call id to call again with."""
        if self.is_draining:
            raise Draining(
                f"the gateway is shutting down; call again with {CALL_ID} {call.id}",
                retry_after_s=RETRY_AFTER_S,
            )

    async def unless_draining(self, call: CallKey, result: Coroutine[None, None, T]) -> T:
        """The coroutine's result; raises Draining if the gateway drains before."""
        waiting = asyncio.ensure_future(result)
        draining = asyncio.ensure_future(self._draining.wait())
        try:
            await asyncio.wait((waiting, draining), return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                self.raise_if_draining(call)
            return waiting.result()
        finally:
            waiting.cancel()
            draining.cancel()

    async def retry(self, operation: Callable[[], Awaitable[T]]) -> T:
        """The operation's result. It may run twice. Raises BackendUnavailable."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + RETRY_FOR_S
        while True:
            try:
                return await operation()
            except BackendUnavailable:
                if self.is_draining or loop.time() > give_up_at:
                    raise
            with contextlib.suppress(TimeoutError):
                # Jitter: all calls in flight wait for the same server.
                async with asyncio.timeout(RETRY_DELAY_S * between(0.5, 1.5)):
                    await self._draining.wait()
