"""Telling the ledger that a caller has gone, without making anyone wait for it."""

from __future__ import annotations

import logging

from forebay.errors import BackendUnavailable
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.calls import cancel, discard, leave
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watches import Watches

_log = logging.getLogger(__name__)


class Disconnects:
    """What the ledger has yet to hear of calls that were left. One object a gateway."""

    def __init__(
        self, ledger: Ledger, pipeliner: Pipeliner, watches: Watches, ledger_retry: LedgerRetry
    ) -> None:
        self._ledger = ledger
        self._pipeliner = pipeliner
        self._watches = watches
        self._ledger_retry = ledger_retry
        self._telling = BackgroundTasks()

    def disconnected(self, call: CallKey) -> None:
        """A caller has gone."""
        self._telling.start(self._leave(call))

    def abandoned(self, call: CallKey) -> None:
        """A caller was told that its call failed, and nobody else knows the call's id.

        The ledger may have accepted it, and only the answer was lost: then it is not to run.
        """
        self._telling.start(self._forget(call))

    async def join(self) -> None:
        """Returns when the ledger has been told of all; bounded."""
        await self._telling.join(RETRY_AFTER_S)

    async def _leave(self, call: CallKey) -> None:
        async def leave_it() -> None:
            if not self._watches.watched(call):  # it may be attached to again meanwhile
                # After the call was accepted, where that is still on its way.
                await self._pipeliner.run(leave(call, self._watches.channel))

        try:
            await self._ledger_retry.retry(leave_it)
        except BackendUnavailable:
            _log.warning("call %s was left; its watch will lapse", call)

    async def _forget(self, call: CallKey) -> None:
        async def forget_it() -> None:
            if await self._ledger.run(discard(call)) is not None:
                await self._ledger.run(cancel(call))

        try:
            await self._ledger_retry.retry(forget_it)
        except BackendUnavailable:
            _log.warning("call %s was given up; if it was accepted, its watch will lapse", call)
