"""The keys of a JWKS URL: fetched in the background, never on the way of a call.

At most 30 s after the issuer publishes its keys, a new key is known, and a withdrawn one is
refused. While the issuer can't be reached, the last good keys are used for up to 24 h.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from forebay.errors import BackendUnavailable
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.periodic import run_periodically
from forebay_gateway.identity.jwt.jwks import NO_KEYS, KeySet, read_jwks
from forebay_gateway.identity.jwt.key_stores import lacks_keys, taken_in

REFRESH_S = 25.0
"""With the jitter of `run_periodically`, 30 s at most."""
RETRY_S = 2.0
EARLY_S = 30.0
KEEP_S = 24 * 3600.0

_WAIT_S = 5.0
_MOST_WAITING = 100

_log = logging.getLogger(__name__)


class FetchedKeys:
    """The keys that `fetch` returns as a JWKS document; it raises BackendUnavailable.

    For a token with an unknown key id it fetches the keys early, but once in 30 s at most: other
    such tokens wait for that fetch, or are refused at once. `clock` returns seconds.
    """

    def __init__(
        self,
        issuer: str,
        fetch: Callable[[], Awaitable[bytes]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.keys = NO_KEYS
        self._problem: str | None = f"the keys of {issuer} were not fetched yet"
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._document = b""
        self._fetched_at = clock()
        self._wake = AutoResetEvent()
        self._early: asyncio.Event | None = None
        self._early_at = float("-inf")
        self._waiting = 0

    @property
    def age_s(self) -> float:
        return self._clock() - self._fetched_at

    @property
    def problem(self) -> str | None:
        return self._problem

    async def look_again(self) -> None:
        if self._early is None:
            if self._clock() - self._early_at < EARLY_S:
                return
            self._early, self._early_at = asyncio.Event(), self._clock()
            self._wake.set()
        if self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_WAIT_S):
                    await self._early.wait()
        finally:
            self._waiting -= 1

    async def run(self) -> None:
        await run_periodically(
            REFRESH_S,
            self._refresh,
            _log,
            f"fetching the keys of {self._issuer}",
            retry_interval_s=RETRY_S,
            wake=self._wake,
        )

    async def _refresh(self) -> None:
        """Fetches the keys, and wakes the callers of `look_again` that waited when it began."""
        early = self._early
        try:
            await self._renew()
        except BackendUnavailable as error:
            self._problem = f"the keys of {self._issuer} can't be fetched: {error.message}"
            if self.age_s > KEEP_S:
                self._take_in(b"", NO_KEYS)
            raise
        finally:
            if early is not None:
                self._early = None
                early.set()

    async def _renew(self) -> None:
        document = await self._fetch()
        if document != self._document:
            try:
                self._take_in(document, read_jwks(document))
            except ValueError as error:
                raise BackendUnavailable(str(error)) from None
        self._fetched_at = self._clock()
        self._problem = lacks_keys(self._issuer, self.keys)

    def _take_in(self, document: bytes, found: KeySet) -> None:
        self._document = document
        self.keys = taken_in(self._issuer, self.keys, found)
