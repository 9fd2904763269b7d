"""The way in of a call whose requests are a stream: into the ledger, to their end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc

from forebay.errors import (
    BackendUnavailable,
    Draining,
    ForebayError,
    InternalFault,
    ItemsLost,
    TooLarge,
)
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.base import Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import discard, end
from forebay_backends.ledger.operations.requests import complete
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.settings import Settings
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_spool import RequestSpool
from forebay_gateway.durable.watches import Watch
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import request_limit_bytes

_log = logging.getLogger(__name__)


class RequestUpload:
    """Receives the requests of one RPC on one durable call."""

    def __init__(
        self,
        call: CallKey,
        watch: Watch,
        incoming: IncomingCall,
        *,
        ledger: Ledger,
        settings: Settings,
        ledger_retry: LedgerRetry,
    ) -> None:
        self._call = call
        self._watch = watch
        self._incoming = incoming
        self._ledger = ledger
        self._settings = settings
        self._ledger_retry = ledger_retry
        self._limit_bytes = request_limit_bytes(incoming.method, settings)
        self._live = incoming.method.route.live

    async def receive(self, push: Push) -> bool:
        """Puts the requests into the ledger as they come; where they are complete, queues the call.

        False where it ended before: the delivery says how. Raises what is wrong with the
        requests; of a live call, what ends no call: else the delivery says that, too.
        """
        try:
            stored = await self._store()
        except (BackendUnavailable, Draining):
            raise  # the call's requests can still be completed, under its id
        except ForebayError as error:
            await self._end(error)
            if self._live and error.retry_after_s is None:
                return False
            raise
        if stored is None:
            return False
        completed = partial(self._ledger.run, complete(self._call, push, stored))
        refused = await self._ledger_retry.retry(completed)
        if refused is not None and refused.why is Refusal.GAP:
            raise ItemsLost("the ledger has lost requests of this call")
        return refused is None

    @asynccontextmanager
    async def receiving(self) -> AsyncIterator[None]:
        """Receives requests until they end, or the block is left; `Watch.fail` hears of errors."""
        task = asyncio.create_task(self._receive_on())
        try:
            yield
        finally:
            await cancel_all([task])

    async def _receive_on(self) -> None:
        try:
            await self.receive(Push())
        except ForebayError as error:
            self._watch.fail(error)
        except grpc.aio.AbortError:
            pass  # the delivery has ended the RPC, and is about to end this
        except Exception:
            _log.exception("call %s: its requests can't be received", self._call)
            self._watch.fail(InternalFault("the gateway failed; its log says how"))

    async def _store(self) -> int | None:
        """How many requests there are; None where the call has ended."""
        spool = RequestSpool(
            self._call,
            self._incoming,
            limit_bytes=self._limit_bytes,
            max_message_bytes=self._settings.max_message_bytes,
            ledger=self._ledger,
            ledger_retry=self._ledger_retry,
            room=self._watch.room,
        )
        stored = await spool.store()
        if not isinstance(stored, Refused):
            return stored
        if stored.why is Refusal.TOO_LARGE:
            limit = self._limit_bytes
            raise TooLarge(f"the requests are over the method's limit of {limit} bytes")
        if stored.why is Refusal.GAP:
            raise ItemsLost("the ledger has lost requests of this call")
        return None

    async def _end(self, error: ForebayError) -> None:
        if error.retry_after_s is None:
            outcome = outcome_of_error(error).SerializeToString()
            await self._ledger.run(end(self._call, Event.FAIL, error.reason, outcome))
        elif not self._live:  # a retry may help, so it must find no record
            await self._ledger.run(discard(self._call))
