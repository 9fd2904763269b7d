"""Ends an RPC whose caller reads no message while the call's handler waits for it.

Otherwise a caller that reads one item of a large stream and stops would hold a worker's slot for
ever. A slow caller that no handler waits for holds no slot, and may be as slow as it likes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from forebay.errors import CallerStalled
from forebay.metadata import CALL_ID, RESUME_FROM
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import CallSnapshot
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.rpc.context import Context


class StallLimit:
    """The limit of one RPC. Snapshots of its call must be passed to `on_snapshot`."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s = limit_s
        self._clock = clock
        self._writing_since: float | None = None
        self._timeout: asyncio.Timeout | None = None

    @asynccontextmanager
    async def applied(self, call: CallKey) -> AsyncIterator[None]:
        """A context manager that raises CallerStalled in its block if the caller stalls."""
        self._timeout = timeout = asyncio.timeout(None)
        try:
            async with timeout:
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            raise CallerStalled(
                f"the caller took no message for {self._limit_s:g} s while the handler waited for "
                f"it; to continue, call again with {CALL_ID} {call.id} and {RESUME_FROM}",
                retry_after_s=RETRY_AFTER_S,
            ) from None
        finally:
            self._timeout = None

    async def write(self, context: Context, payload: bytes) -> None:
        """Sends a message; waits while the caller's flow control window is full."""
        self._writing_since = self._clock()
        await context.write(payload)
        self._writing_since = None

    def on_snapshot(self, snapshot: CallSnapshot) -> None:
        """Ends the RPC if the handler and the write have both waited for the limit."""
        if self._timeout is not None and self.is_reached(snapshot.credit_wait_s):
            self._timeout.reschedule(asyncio.get_running_loop().time())

    def is_reached(self, credit_wait_s: float) -> bool:
        """Whether the caller has stalled, given how long the call's handler has waited."""
        if self._writing_since is None or credit_wait_s < self._limit_s:
            return False
        return self._clock() - self._writing_since >= self._limit_s
