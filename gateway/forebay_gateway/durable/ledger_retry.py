"""Waiting for a ledger that is away, with calls that are in flight.

A new call fails at once, for its caller to go elsewhere; one that was accepted waits,
since the outage is the ledger's everywhere and what was accepted is not lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from typing import TypeVar

from forebay.errors import BackendUnavailable, Draining
from forebay.metadata import CALL_ID
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.admission.admission import RETRY_AFTER_S

RETRY_FOR_S = 60.0
"""How long a call in flight waits for a ledger that is away."""
_AGAIN_AFTER_S = 0.5

T = TypeVar("T")


class LedgerRetry:
    """Asks again until there is an answer, or the gateway can wait no longer."""

    def __init__(self, patience_s: float = RETRY_FOR_S) -> None:
        self._patience_s = patience_s
        self._over = asyncio.Event()

    @property
    def is_over(self) -> bool:
        """Whether nothing is waited for any more."""
        return self._over.is_set()

    def end(self) -> None:
        """From now on nothing is asked twice."""
        self._over.set()

    def raise_if_draining(self, call: CallKey) -> None:
        """Raises Draining where the gateway can wait no longer, with what to call again."""
        if self.is_over:
            raise Draining(
                f"the gateway is shutting down; call again with {CALL_ID} {call.id}",
                retry_after_s=RETRY_AFTER_S,
            )

    async def unless_draining(self, call: CallKey, said: Coroutine[None, None, T]) -> T:
        """What the caller says next; raises Draining where the gateway can't wait for it."""
        saying = asyncio.ensure_future(said)
        over = asyncio.ensure_future(self._over.wait())
        try:
            await asyncio.wait((saying, over), return_when=asyncio.FIRST_COMPLETED)
            if not saying.done():
                self.raise_if_draining(call)
            return saying.result()
        finally:
            saying.cancel()
            over.cancel()

    async def retry(self, retry: Callable[[], Awaitable[T]]) -> T:
        """The answer; what is asked may be done twice. Raises BackendUnavailable."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + self._patience_s
        while True:
            try:
                return await retry()
            except BackendUnavailable:
                if self.is_over or loop.time() > give_up:
                    raise
            with contextlib.suppress(TimeoutError):
                # Jitter: all calls in flight wait for the same server.
                async with asyncio.timeout(_AGAIN_AFTER_S * random.uniform(0.5, 1.5)):  # noqa: S311 - no secret
                    await self._over.wait()
