"""Reports to the ledger that a caller has disconnected, in the background."""

from __future__ import annotations

import logging

from forebay.errors import BackendUnavailable
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import cancel, discard, leave
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.telemetry.call_labels import CallLabels, Labelled, current_call
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.durable.cached_runs import CachedRuns
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watches import Watches

_log = logging.getLogger(__name__)


class Disconnects:
    """Reports disconnects to the ledger, for RPCs that call this. One instance per gateway."""

    def __init__(
        self,
        ledger: Ledger,
        pipeliner: Pipeliner,
        watches: Watches,
        ledger_retry: LedgerRetry,
        cached: CachedRuns,
    ) -> None:
        self._cached = cached
        self._ledger = ledger
        self._pipeliner = pipeliner
        self._watches = watches
        self._ledger_retry = ledger_retry
        self._background_tasks = BackgroundTasks()
        self._outage = OutageLog(
            _log,
            "the ledger does not get reports of disconnects; watches will expire",
            "the ledger gets reports of disconnects again",
        )

    def disconnected(self, call: CallKey, cache: str = "") -> None:
        """Ends the gateway's watch on the call; `cache` is its cache key."""
        self._background_tasks.start(self._leave(call, cache, current_call()))

    def abandoned(self, call: CallKey, cache: str = "") -> None:
        """Removes or cancels a call whose accept failed, and whose id its caller does not know.

        The ledger may have accepted the call and lost only the reply: the call must not run. But
        other callers may have joined a call with a cache key, so this gateway only stops watching
        such a call.
        """
        self._background_tasks.start(self._discard_or_cancel(call, cache, current_call()))

    async def join(self) -> None:
        """Returns when the ledger has all reports, or after `RETRY_AFTER_S`."""
        await self._background_tasks.join(RETRY_AFTER_S)

    async def _leave(self, call: CallKey, cache: str, labels: CallLabels) -> None:
        async def attempt() -> None:
            if cache:
                await self._cached.nobody_asks(cache)
            if not self._watches.is_watched(call):  # another caller may have attached meanwhile
                # The pipeliner keeps the order: an accept that is still queued runs first.
                await self._pipeliner.run(leave(call, self._watches.channel))

        try:
            await self._ledger_retry.retry(attempt)
            self._outage.succeeded()
        except BackendUnavailable as error:
            with Labelled(labels):
                _log.debug("call %s: its caller disconnected; its watch will expire", call)
            self._outage.failed(error)

    async def _discard_or_cancel(self, call: CallKey, cache: str, labels: CallLabels) -> None:
        async def attempt() -> None:
            if await self._ledger.run(discard(call)) is not None:
                end = leave(call, self._watches.channel) if cache else cancel(call)
                await self._ledger.run(end)

        try:
            await self._ledger_retry.retry(attempt)
            self._outage.succeeded()
        except BackendUnavailable as error:
            with Labelled(labels):
                _log.debug("call %s failed; if it was accepted, its watch will expire", call)
            self._outage.failed(error)
