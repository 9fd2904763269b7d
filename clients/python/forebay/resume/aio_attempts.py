"""The attempts of a call over `grpc.aio`; the counterpart of the attempts in `resume.calls`."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from forebay.resume.attempts import Attempts
from forebay.resume.ended_attempts import AsyncEndedAttempt
from forebay.resume.request_replay import AsyncReplay

_BROKEN = "the connection broke while the requests ended"


class AsyncAttempts(Attempts):
    """The attempts of a call; an asyncio task waits between two of them."""

    _new_event = asyncio.Event
    _cancelled: asyncio.Event

    def as_ended(self, inner: Any) -> Any:
        """The attempt; another one, UNAVAILABLE, if `grpc.aio` itself has cancelled it.

        It does so if the connection breaks while it sends the end of the requests: see
        docs/upstream.md. A caller whose requests raise an exception has cancelled the call.
        """
        by_requests = isinstance(self._request, AsyncReplay) and self._request.has_raised
        if self.is_cancelled or by_requests or not inner.cancelled():
            return inner
        return AsyncEndedAttempt(grpc.StatusCode.UNAVAILABLE, _BROKEN)

    async def wait_to_retry(self, failed: grpc.aio.AioRpcError) -> bool:
        """Waits until the next attempt is due; False if there is none, or the call is cancelled."""
        delay_s = self.retry_delay_s(failed, failed.initial_metadata())
        if delay_s is None:
            return False
        try:
            async with asyncio.timeout(delay_s):
                await self._cancelled.wait()
        except TimeoutError:
            return True
        return False
