"""Sends a call's items to its caller until the call has ended."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial

from forebay.errors import BackendUnavailable, ItemsLost
from forebay.metadata import ATTACHED, CACHE, CALL_ID, Pairs, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import credit
from forebay_gateway.durable.item_sequence import Done, Fetch, Send, Wait
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.watch import Watch
from forebay_gateway.durable.watches import Watches
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.metadata_size import fit_pairs
from forebay_gateway.rpc.outcomes import error_of_ending, trailing_metadata
from forebay_gateway.rpc.status import abort

HOLD_INITIAL_METADATA_S = 0.1
"""How long the gateway delays the initial metadata so that the handler's can be part of it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Prefetch:
    """A fetch that was started under this subscription of the gateway's channel."""

    subscription: int
    items: asyncio.Task[list[tuple[int, bytes]]]


class ResponseWriter:
    """Writes the responses, metadata and status of one RPC on one durable call."""

    def __init__(
        self,
        watch: Watch,
        context: Context,
        method: Method,
        *,
        ledger: Ledger,
        watches: Watches,
        ledger_retry: LedgerRetry,
        meter: CallMeter,
    ) -> None:
        self._meter = meter
        self._watch = watch
        self._call = watch.call
        self._items = watch.items
        self._context = context
        self._method = method
        self._ledger = ledger
        self._watches = watches
        self._ledger_retry = ledger_retry
        self._failed_credit: int | None = None
        self._prefetch: _Prefetch | None = None

    async def write(self, attached: str, *, may_share: bool = False) -> bytes | None:
        """Sends items until the call has ended; returns a unary method's response.

        The initial metadata has `attached` as `forebay-attached` and, if the call `may_share` a
        run, also as `forebay-cache`.
        Raises CallerStalled if the caller reads nothing while the handler waits for it.
        """
        try:
            async with self._watch.stall_limit.applied(self._call):
                of_cache: Pairs = ((CACHE, attached),) if may_share else ()
                return await self._write(((ATTACHED, attached), *of_cache))
        finally:
            if self._prefetch is not None:
                self._prefetch.items.cancel()

    async def _write(self, attached: Pairs) -> bytes | None:
        await self._send_initial_metadata(attached)
        response: bytes | None = None
        while True:
            action = self._items.next_action()
            if not isinstance(action, Done):
                self._ledger_retry.raise_if_draining(self._call)
                self._watch.raise_if_upload_failed()
            match action:
                case Send(payload, is_transient):
                    self._meter.item(len(payload), transient=is_transient)
                    if self._method.server_streaming:
                        self._start_prefetch()
                        await self._watch.stall_limit.write(self._context, payload)
                        await self._send_credit(self._items.next_credit())
                    else:
                        response = payload
                case Fetch(first, count):
                    await self._fetch(first, count)
                case Wait():
                    await self._wait()
                case Done(ending):
                    await self._end(ending)
                    return response

    async def _send_initial_metadata(self, attached: Pairs) -> None:
        await self._hold()
        from_handler = call_pb2.Metadata.FromString(self._items.initial_metadata or b"")
        await self._context.send_initial_metadata(
            tuple(fit_pairs(((CALL_ID, self._call.id), *attached, *to_pairs(from_handler))))
        )

    async def _hold(self) -> None:
        """Returns when the handler has sent something or ended, or after the time allowed.

        Renewals of the watch wake the RPC too; their snapshots are left for `_wait`.
        """
        now = asyncio.get_running_loop().time
        until = now() + HOLD_INITIAL_METADATA_S
        while self._items.is_idle and self._items.initial_metadata is None:
            left_s = until - now()
            if left_s <= 0:
                return
            await self._watch.wait(left_s)

    def _start_prefetch(self) -> None:
        if self._prefetch is None and self._watches.is_confirmed(self._watch):
            fetch = self._items.prefetch()
            if fetch is not None:
                items = self._ledger.items(self._call, fetch.first, fetch.count)
                subscription = self._watch.confirmed_subscription
                self._prefetch = _Prefetch(subscription, asyncio.create_task(items))

    async def _fetch(self, first: int, count: int) -> None:
        """Fetches items if the watch is confirmed; otherwise waits for the confirmation."""
        if self._watches.is_confirmed(self._watch):
            subscription = self._watch.confirmed_subscription
            items = await self._prefetched(subscription)
            if items is None:
                fetching = partial(self._ledger.items, self._call, first, count)
                items = await self._ledger_retry.retry(fetching)
            if (
                self._watches.is_confirmed(self._watch)
                and self._watch.confirmed_subscription == subscription
            ):
                self._items.on_fetched(items)
                return
        await self._wait()

    async def _prefetched(self, subscription: int) -> list[tuple[int, bytes]] | None:
        """The prefetched items; None if there are none of this subscription."""
        prefetch, self._prefetch = self._prefetch, None
        if prefetch is None:
            return None
        try:
            items = await prefetch.items
        except BackendUnavailable:
            return None
        return items if prefetch.subscription == subscription else None

    async def _wait(self) -> None:
        snapshot = self._watch.take_snapshot()
        if snapshot is None:
            await self._watch.wait()
            snapshot = self._watch.take_snapshot()
        if isinstance(snapshot, Refused):
            raise ItemsLost("the ledger has lost this call, or items of it that were sent")
        if snapshot is not None:
            await self._send_credit(self._items.next_credit(idle=True) or self._failed_credit)
            self._items.on_snapshot(snapshot)

    async def _send_credit(self, read_count: int | None) -> None:
        if read_count is None:
            return
        try:
            await self._ledger.run(credit(self._call, read_count))
            self._failed_credit = None
        except BackendUnavailable:
            # `_wait` sends the credit again when the ledger is back; until then the handler waits.
            self._failed_credit = read_count
            _log.debug(
                "call %s: the ledger did not get a credit of %d items", self._call, read_count
            )

    async def _end(self, ending: Ending) -> None:
        self._meter.ran(ending.queue_ms / 1000, ending.run_ms / 1000)
        trailing = trailing_metadata(ending)
        error = error_of_ending(ending, may_run_again=self._method.may_run_again)
        if error is not None:
            await abort(self._context, error, trailing)
        self._context.set_trailing_metadata(tuple(fit_pairs(trailing)))
