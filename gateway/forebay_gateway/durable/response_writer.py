"""Handing a call's items to its caller, from wherever they come, until it has ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from forebay.errors import BackendUnavailable, ItemsLost
from forebay.metadata import ATTACHED, CALL_ID, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import credit
from forebay_gateway.durable.item_sequence import Done, Fetch, Send, Wait
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watches import Watch, Watches
from forebay_gateway.rpc.incoming import Context
from forebay_gateway.rpc.outcomes import error_of_ending, trailing_metadata
from forebay_gateway.rpc.status import abort

HOLD_INITIAL_METADATA_S = 0.1
"""How long the gateway's initial metadata waits for the handler's."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Ahead:
    """Items on their way from the ledger, asked for under this subscription."""

    confirmed_in: int
    items: asyncio.Task[list[tuple[int, bytes]]]


class ResponseWriter:
    """The way back of one RPC on one durable call."""

    def __init__(
        self,
        call: CallKey,
        watch: Watch,
        context: Context,
        method: Method,
        *,
        ledger: Ledger,
        watches: Watches,
        ledger_retry: LedgerRetry,
    ) -> None:
        self._call = call
        self._watch = watch
        self._delivery = watch.delivery
        self._context = context
        self._method = method
        self._ledger = ledger
        self._watches = watches
        self._ledger_retry = ledger_retry
        self._owed: int | None = None  # a credit that the ledger did not take
        self._ahead: _Ahead | None = None

    async def deliver(self, attached: str) -> bytes | None:
        """Hands out items until the call has ended; a unary method's response is returned."""
        try:
            return await self._deliver(attached)
        finally:
            if self._ahead is not None:
                self._ahead.items.cancel()

    async def _deliver(self, attached: str) -> bytes | None:
        await self._send_initial_metadata(attached)
        response: bytes | None = None
        while True:
            decision = self._delivery.take()
            if not isinstance(decision, Done):
                self._ledger_retry.raise_if_draining(self._call)
                self._watch.go_on()
            match decision:
                case Send(payload):
                    if self._method.server_streaming:
                        self._read_ahead()
                        await self._context.write(payload)
                        await self._acknowledge(self._delivery.acknowledge())
                    else:
                        response = payload
                case Fetch(first, count):
                    await self._fetch(first, count)
                case Wait():
                    await self._wait()
                case Done(ending):
                    await self._end(ending)
                    return response

    async def _send_initial_metadata(self, attached: str) -> None:
        if self._delivery.idle:
            await self._watch.wait(HOLD_INITIAL_METADATA_S)
        handlers = call_pb2.Metadata.FromString(self._delivery.initial or b"")
        await self._context.send_initial_metadata(
            ((CALL_ID, self._call.id), (ATTACHED, attached), *to_pairs(handlers))
        )

    def _read_ahead(self) -> None:
        """Has the next items come while the caller takes these."""
        if self._ahead is None and self._watches.confirmed(self._watch):
            fetch = self._delivery.read_ahead()
            if fetch is not None:
                items = self._ledger.items(self._call, fetch.first, fetch.count)
                self._ahead = _Ahead(self._watch.confirmed_in, asyncio.create_task(items))

    async def _fetch(self, first: int, count: int) -> None:
        """Reads items, where it is certain that the ledger is as it was; else waits for that."""
        if self._watches.confirmed(self._watch):
            confirmed_in = self._watch.confirmed_in
            items = await self._items_ahead(confirmed_in)
            if items is None:
                ask = partial(self._ledger.items, self._call, first, count)
                items = await self._ledger_retry.retry(ask)
            if self._watches.confirmed(self._watch) and self._watch.confirmed_in == confirmed_in:
                self._delivery.on_fetched(items)
                return
        await self._wait()

    async def _items_ahead(self, confirmed_in: int) -> list[tuple[int, bytes]] | None:
        """What was read ahead, if anything, and if the ledger has been the same since."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        try:
            items = await ahead.items
        except BackendUnavailable:
            return None
        return items if ahead.confirmed_in == confirmed_in else None

    async def _wait(self) -> None:
        await self._watch.wait()
        snapshot = self._watch.snapshot()
        if isinstance(snapshot, Refused):
            raise ItemsLost("the ledger has lost this call, or what went out of it")
        if snapshot is not None:
            await self._acknowledge(self._delivery.acknowledge(idle=True) or self._owed)
            self._delivery.on_snapshot(snapshot)

    async def _acknowledge(self, read_count: int | None) -> None:
        if read_count is None:
            return
        try:
            await self._ledger.run(credit(self._call, read_count))
            self._owed = None
        except BackendUnavailable:
            # The handler waits, as the caller would; it is said again when the ledger is back.
            self._owed = read_count
            _log.info("call %s: the ledger was not told of %d items read", self._call, read_count)

    async def _end(self, ending: Ending) -> None:
        trailing = trailing_metadata(ending)
        error = error_of_ending(ending, may_run_again=self._method.may_run_again)
        if error is not None:
            await abort(self._context, error, trailing)
        self._context.set_trailing_metadata(tuple(trailing))
