"""One RPC on a durable call: accepts the call or attaches to it, and sends its items.

Messages stay bytes: the gateway forwards a worker's items without parsing them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from forebay.errors import CallIdReused, CallUnknown
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import CallSnapshot, attach
from forebay_backends.telemetry.call_labels import name_call
from forebay_gateway.durable.acceptance import Acceptance
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.parts import DurableParts
from forebay_gateway.durable.request_upload import RequestUpload
from forebay_gateway.durable.response_writer import ResponseWriter
from forebay_gateway.durable.same_call import is_same_call, is_shared_run
from forebay_gateway.durable.stall import StallLimit
from forebay_gateway.durable.watch import Watch
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.outcomes import call_unknown
from forebay_gateway.rpc.policy import stall_s
from forebay_gateway.rpc.uuid7 import uuid7


class DurableRpc:
    """One RPC on one durable call."""

    def __init__(self, parts: DurableParts, incoming: IncomingCall, context: Context) -> None:
        self._parts = parts
        self._incoming = incoming
        self._method = incoming.method
        self._context = context
        self._key = incoming.cache_key
        self._own_id = incoming.options.call_id if self._key is None else None
        """The id that the call must have; None if it may have any."""
        if self._key is None:
            call = CallKey(self._own_id or uuid7(), context.principal.tenant)
        else:
            call = self._key.new_call()
        self._cache = "" if self._key is None else self._key.digest
        """The cache key of the run; empty if it has none."""
        name_call(call.id)
        self._items = ItemSequence(incoming.options.resume_from, incoming.permit)
        stall_limit = StallLimit(stall_s(incoming.method, parts.settings))
        self._watch = Watch(call, self._items, stall_limit)
        self._new = Acceptance(parts, incoming, context.principal, self._watch, self._own_id)

    @property
    def _call(self) -> CallKey:
        return self._watch.call

    async def serve(self) -> bytes | None:
        """Accepts the call, or attaches to it, and sends its items until it has ended.

        Returns a unary method's response.
        """
        async with self._open_watch():
            attached, has_requests = await self._begin()
            may_share = self._key is not None
            if may_share:
                self._incoming.meter.cached(attached)
            writer = self._response_writer()
            if has_requests and self._method.route.live:
                async with self._request_upload().in_background():
                    return await writer.write(attached)
            if has_requests:
                if await self._request_upload().upload(self._new.queue_up):
                    await self._new.send_or_discard()
                self._new.sent()
            return await writer.write(attached, may_share=may_share)

    async def accept(self) -> tuple[CallKey, str]:
        """Accepts the call, or attaches to it, and does not wait for its items.

        Returns the call, and the value of `forebay-attached`.
        """
        async with self._open_watch():
            if not self._incoming.is_attach_only and await self._new.accept():
                return self._call, "new"
            attached, _ = await self._attach()
            return self._call, attached

    async def _begin(self) -> tuple[str, bool]:
        """Accepts the call, or attaches to one.

        Returns the value of `forebay-attached`, and whether this caller uploads requests.
        """
        while not self._incoming.is_attach_only:
            if await self._new.accept():
                return "new", self._new.uploads
            try:
                return await self._attach()
            except CallUnknown:
                if self._key is None:
                    raise
                self._move_to(self._key.new_call())  # the run was deleted since it was joined
        return await self._attach()

    async def _attach(self) -> tuple[str, bool]:
        """Returns the value of `forebay-attached`, and whether this caller uploads requests.

        It does if the upload is not complete, since the caller that began it may have
        disconnected. The ledger ignores requests that it already has.
        """
        snapshot = await self._snapshot()
        incoming = self._incoming
        incoming.meter.attached()
        joined = self._key is not None
        if not (joined or is_same_call(incoming, snapshot, self._context.principal.tenant)):
            raise CallIdReused(
                f"the call id {self._call.id!r} stands for another call: give every call its own"
            )
        name_call(self._call.id, snapshot.attempt)
        if incoming.span is not None:
            incoming.span.attached(snapshot.traceparent)
        self._items.attach(self._parts.ledger.seals.snapshot(self._call, snapshot))
        # A tenant's message may be held back, so it is not resent; the reaper repairs a lost one.
        has_tenant = incoming.permit.tenant is not None
        if snapshot.state is State.QUEUED and self._key is None and not has_tenant:
            await self._parts.messages.resend(
                *(self._call, self._method, incoming.options.priority),
                *(snapshot.attempt, snapshot.traceparent),
            )
        has_requests = snapshot.receiving and incoming.first is not None
        return ("running" if snapshot.ending is None else "finished"), has_requests

    async def _snapshot(self) -> CallSnapshot:
        """Registers the watch; raises CallUnknown."""
        snapshot = await self._attached()
        cache = self._method.route.cache
        is_everyones = cache is not None and cache.for_everyone
        if isinstance(snapshot, Refused) and self._own_id and is_everyones and self._call.owner:
            # A caller that resumes may name a run shared by all tenants, which has no owner.
            self._move_to(CallKey(self._own_id))
            snapshot = await self._attached()
            tenant = self._context.principal.tenant
            if isinstance(snapshot, CallSnapshot) and not is_shared_run(
                self._incoming, snapshot, tenant
            ):
                raise call_unknown()
        if isinstance(snapshot, Refused):
            raise call_unknown()
        self._parts.watches.on_registered(self._watch)
        self._cache = snapshot.cache
        return snapshot

    async def _attached(self) -> CallSnapshot | Refused:
        self._parts.watches.on_registering(self._watch)
        return await self._parts.ledger.run(attach(self._call, self._parts.watches.channel))

    def _move_to(self, call: CallKey) -> None:
        self._parts.watches.move(self._watch, call)

    def _response_writer(self) -> ResponseWriter:
        return ResponseWriter(
            self._watch,
            self._context,
            self._method,
            ledger=self._parts.ledger,
            watches=self._parts.watches,
            ledger_retry=self._parts.ledger_retry,
            meter=self._incoming.meter,
        )

    def _request_upload(self) -> RequestUpload:
        return RequestUpload(
            self._watch,
            self._incoming,
            ledger=self._parts.ledger,
            settings=self._parts.settings,
            ledger_retry=self._parts.ledger_retry,
        )

    @asynccontextmanager
    async def _open_watch(self) -> AsyncIterator[None]:
        """Receives the call's events; reports a disconnect to the ledger at the end.

        No report is needed if the RPC of a unary call has ended, since nothing more is read, or
        if the gateway's shutdown ended the RPC, since its caller will attach elsewhere.
        """
        ended = False
        with self._parts.watches.open(self._watch):
            try:
                yield
                ended = True
            except grpc.aio.AbortError:
                ended = True
                raise
            finally:
                self._parts.acceptor.on_ended(self._call, self._items.ending)
                self._new.on_rpc_end(self._items.ending)
                is_draining = self._parts.ledger_retry.is_draining
                if self._method.server_streaming if ended else not is_draining:
                    self._parts.disconnects.disconnected(self._call, self._cache)
