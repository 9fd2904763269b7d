"""Uploads a request stream to the ledger, and ends the call if the stream has an error."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import grpc

from forebay.errors import (
    BackendUnavailable,
    Draining,
    ForebayError,
    ItemsLost,
    TooLarge,
)
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.base import Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import discard, end
from forebay_backends.ledger.operations.requests import complete
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.settings import Settings
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_spool import RequestSpool
from forebay_gateway.durable.watch import Watch
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.outcomes import gateway_fault
from forebay_gateway.rpc.policy import request_limit_bytes

_log = logging.getLogger(__name__)


class RequestUpload:
    """Uploads the requests of one RPC on one durable call."""

    def __init__(
        self,
        watch: Watch,
        incoming: IncomingCall,
        *,
        ledger: Ledger,
        settings: Settings,
        ledger_retry: LedgerRetry,
    ) -> None:
        self._watch = watch
        self._incoming = incoming
        self._ledger = ledger
        self._ledger_retry = ledger_retry
        self._limit_bytes = request_limit_bytes(incoming.method, settings)
        self._is_live = incoming.method.route.live
        self._spool = RequestSpool(
            watch,
            incoming,
            limit_bytes=self._limit_bytes,
            max_message_bytes=settings.max_message_bytes,
            ledger=ledger,
            ledger_retry=ledger_retry,
        )

    async def upload(self, queue: Callable[[], tuple[Push, bool]]) -> bool:
        """Stores all requests, then completes them, which queues a call that is not live.

        `queue` is called in between: it returns the message that the ledger is to push, and
        whether it is held back.

        Returns False if the call had ended, or ended by an error of its requests: the watch gets
        the ending.
        Raises errors that do not end the call.
        """
        try:
            count = await self._store()
        except (BackendUnavailable, Draining):
            raise  # the caller can still complete the requests, under the call's id
        except ForebayError as error:
            await self._end(error)
            if error.retry_after_s is None:
                return False
            raise
        if count is None:
            return False
        push, held = queue()
        call = self._watch.call
        requests_end = self._ledger.seals.requests_end(call, count)
        completed = complete(call, push, count, held=held, requests_end=requests_end)
        refused = await self._ledger_retry.retry(partial(self._ledger.run, completed))
        if refused is not None and refused.why is Refusal.GAP:
            raise _requests_lost()
        return refused is None

    @asynccontextmanager
    async def in_background(self) -> AsyncIterator[None]:
        """Uploads while the block runs; the watch gets the error that ends the upload."""
        task = asyncio.create_task(self._upload_for_watch())
        try:
            yield
        finally:
            await cancel_all([task])

    async def _upload_for_watch(self) -> None:
        try:
            await self.upload(lambda: (Push(), False))
        except ForebayError as error:
            self._watch.on_upload_failed(error)
        except grpc.aio.AbortError:
            pass  # the response side has ended the RPC, and will cancel this task
        except Exception:
            _log.exception("call %s: its requests can't be received", self._watch.call)
            self._watch.on_upload_failed(gateway_fault())

    async def _store(self) -> int | None:
        """The number of requests; None if the call has ended."""
        stored = await self._spool.store()
        if not isinstance(stored, Refused):
            return stored
        if stored.why is Refusal.TOO_LARGE:
            limit = self._limit_bytes
            raise TooLarge(f"the requests are over the method's limit of {limit} bytes")
        if stored.why is Refusal.GAP:
            raise _requests_lost()
        return None

    async def _end(self, error: ForebayError) -> None:
        if error.retry_after_s is None:
            call, outcome = self._watch.call, outcome_of_error(error).SerializeToString()
            sealed = self._ledger.seals.outcome(call, State.FAILED, 0, outcome)
            await self._ledger.run(end(call, Event.FAIL, error.reason, sealed))
        elif not self._is_live:  # the error allows a retry, which must find no record
            await self._ledger.run(discard(self._watch.call))


def _requests_lost() -> ItemsLost:
    return ItemsLost("the ledger has lost requests of this call")
