"""Durable calls: each has a record in the ledger, and any caller with its id can attach to it.

Messages stay bytes: the gateway sends on what the worker emits, without parsing it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager

import grpc

from forebay.errors import (
    BackendUnavailable,
    CallIdReused,
    CallUnknown,
    QuotaExceeded,
)
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.broker.base import Broker, ledger_push
from forebay_backends.broker.task_messages import TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Push, Refused
from forebay_backends.ledger.operations.cache import Joined
from forebay_backends.ledger.operations.calls import (
    CallSnapshot,
    ExistingCall,
    NewCall,
    attach,
    discard,
    watch,
)
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.settings import Settings
from forebay_backends.telemetry.call_labels import name_call
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.durable.cached_runs import CachedRuns
from forebay_gateway.durable.delayed_calls import DelayedCalls
from forebay_gateway.durable.disconnect import Disconnects
from forebay_gateway.durable.held_calls import HeldCalls, Turn
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_upload import RequestUpload
from forebay_gateway.durable.response_writer import ResponseWriter
from forebay_gateway.durable.same_call import is_same_call, is_shared_run
from forebay_gateway.durable.stall import StallLimit
from forebay_gateway.durable.watch import Watch
from forebay_gateway.durable.watches import Watches
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.identity.caller import caller_bytes
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.outcomes import call_unknown
from forebay_gateway.rpc.policy import new_call, stall_s
from forebay_gateway.rpc.start_time import delay_s
from forebay_gateway.rpc.uuid7 import uuid7

_log = logging.getLogger(__name__)


class DurableCalls:
    """Serves durable calls. One object a gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        broker: Broker,
        watches: Watches,
        slots: Callable[[str], int],
        metrics: GatewayMetrics,
        fair: FairQueues,
        queues: Collection[str],
        has_tenants: bool,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.broker = broker
        self.watches = watches
        self.ledger_retry = LedgerRetry()
        self.resend_outage = OutageLog(
            _log, "the broker does not answer; calls stay queued", "the broker takes calls again"
        )
        pipeliner = Pipeliner(ledger)
        self.acceptor = Acceptor(ledger, pipeliner, broker, watches.channel, slots, metrics)
        self.held = HeldCalls(
            ledger, pipeliner, broker, self.acceptor, fair, watches.channel, queues
        )
        self.delayed = DelayedCalls(
            ledger, broker, self.held if has_tenants else None, settings.max_delayed_calls
        )
        self.cached = CachedRuns(ledger, self.acceptor, settings, watches.channel)
        self.disconnects = Disconnects(ledger, pipeliner, watches, self.ledger_retry, self.cached)

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Accepts the call, or attaches to it, and sends its items until it has ended.

        Returns a unary method's response.
        """
        return await _DurableRpc(self, incoming, context).serve()

    async def accept(self, incoming: IncomingCall, context: Context) -> tuple[CallKey, str]:
        """Accepts the call, or attaches to it, and leaves it to itself.

        Returns the call, and the value of `forebay-attached`.
        """
        return await _DurableRpc(self, incoming, context).accept()

    async def exists(self, call: CallKey) -> bool:
        """Whether the ledger has the call. Renews the lease of this gateway's watch on it."""
        snapshot = await self.ledger.run(watch(call, self.watches.channel))
        return not isinstance(snapshot, Refused)

    async def can_join(self, incoming: IncomingCall) -> bool:
        """Whether there is a run that the call would join. Watches it for the time of a lease."""
        return await self.cached.join(incoming) is not None

    def abort_remaining(self) -> None:
        """Ends the RPCs that are still open with `Draining`; their calls go on."""
        self.ledger_retry.drain()
        self.watches.notify_all()

    async def join(self) -> None:
        """Hands over calls that wait; returns when the ledger has all reports, or after a while."""
        await self.held.hand_over()
        await self.disconnects.join()


class _DurableRpc:
    """One RPC on one durable call."""

    def __init__(self, calls: DurableCalls, incoming: IncomingCall, context: Context) -> None:
        self._calls = calls
        self._incoming = incoming
        self._method = incoming.method
        self._context = context
        self._key = incoming.cache_key
        self._own_id = incoming.options.call_id if self._key is None else None
        """The id that the call must have; None if it may have any."""
        if self._key is None:
            self._call = CallKey(self._own_id or uuid7(), context.principal.tenant)
        else:
            self._call = self._key.new_call()
        self._cache = "" if self._key is None else self._key.digest
        """The cache key of the run; empty if it has none."""
        name_call(self._call.id)
        self._items = ItemSequence(incoming.options.resume_from, incoming.permit)
        stall_limit = StallLimit(stall_s(incoming.method, calls.settings))
        self._watch = Watch(self._call, self._items, stall_limit)
        self._turn: Turn | None = None
        """The call's place in its tenant's queue; None where there are no tenants."""
        self._is_held = False
        """Whether its message was not sent at first, since it was not its turn."""

    async def serve(self) -> bytes | None:
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
                await self._upload()
                self._sent()
            return await writer.write(attached, may_share=may_share)

    async def _begin(self) -> tuple[str, bool]:
        """Accepts the call, or attaches to one.

        Returns the value of `forebay-attached`, and whether this caller uploads requests.
        """
        while not self._incoming.is_attach_only:
            if await self._accept():
                return "new", self._uploads
            try:
                return await self._attach()
            except CallUnknown:
                if self._key is None:
                    raise
                self._move_to(self._key.new_call())  # the run was deleted since it was joined
        return await self._attach()

    def _move_to(self, call: CallKey) -> None:
        self._calls.watches.move(self._watch, call)
        self._call = call

    async def accept(self) -> tuple[CallKey, str]:
        async with self._open_watch():
            if not self._incoming.is_attach_only and await self._accept():
                return self._call, "new"
            attached, _ = await self._attach()
            return self._call, attached

    def _response_writer(self) -> ResponseWriter:
        return ResponseWriter(
            self._watch,
            self._context,
            self._method,
            ledger=self._calls.ledger,
            watches=self._calls.watches,
            ledger_retry=self._calls.ledger_retry,
            meter=self._incoming.meter,
        )

    def _request_upload(self) -> RequestUpload:
        return RequestUpload(
            self._watch,
            self._incoming,
            ledger=self._calls.ledger,
            settings=self._calls.settings,
            ledger_retry=self._calls.ledger_retry,
        )

    async def _accept(self) -> bool:
        """Writes the record and sends its message.

        False if a call has the id already, or if the call joined a run: it is to be attached to.
        """
        new = self._new_call()
        try:
            await self._take_turn(new)
        except QuotaExceeded:
            if await self._adds_no_work():
                return False
            raise
        self._items.credit_window_bytes = min(new.window_bytes, new.item_limit_bytes)
        self._calls.watches.on_registering(self._watch)
        try:
            existing = await self._accept_or_join(new)
        except BackendUnavailable:
            if self._own_id is None:
                self._calls.disconnects.abandoned(self._call, self._cache)
            raise
        # An id that the gateway made exists only because the accept itself was sent twice.
        accepted = existing is None or (self._own_id is None and not isinstance(existing, Joined))
        if accepted:
            if self._method.operation is None:
                self._calls.watches.on_registered(self._watch)
            self._incoming.meter.accepted()
            if self._turn is not None:
                self._calls.held.on_stored(self._turn)
        elif self._turn is not None:
            self._calls.held.leave(self._turn)
            self._turn = None
        if accepted and new.start is not None:
            self._calls.delayed.expect(self._call, delay_s(new.start))
        elif accepted and not new.receiving:
            await self._send_or_discard()
            self._sent()
        return accepted

    async def _accept_or_join(self, new: NewCall) -> Joined | ExistingCall | None:
        sealed = self._calls.ledger.seals.new_call(self._call, new)
        if self._key is None:
            return await self._calls.acceptor.accept(
                self._call, self._method, sealed, held=self._is_held
            )
        with self._calls.cached.asking(self._key.digest):
            existing = await self._calls.cached.accept(
                self._call, self._method, sealed, self._key, held=self._is_held
            )
            if isinstance(existing, Joined):
                self._join(existing.call)
        return existing

    def _join(self, call: CallKey) -> None:
        self._move_to(call)
        self._incoming.on_joined()

    async def _adds_no_work(self) -> bool:
        """Whether the call is in the ledger, or could join a run, which it has then done."""
        if self._key is None:
            return self._own_id is not None and await self._calls.exists(self._call)
        with self._calls.cached.asking(self._key.digest):
            found = await self._calls.cached.join(self._incoming)
            if found is not None:
                self._join(found)
        return found is not None

    async def _take_turn(self, new: NewCall) -> None:
        """Raises QuotaExceeded. A call whose requests are still to come is not in the queue yet.

        A delayed call takes its turn when it is due, maybe at another gateway.
        """
        tenant = self._incoming.permit.tenant
        if tenant is not None and new.start is None:
            self._turn = await self._calls.held.turn(tenant, self._call, self._method, new)
            if not new.receiving:
                self._enter(self._turn)

    def _enter(self, turn: Turn) -> None:
        self._calls.held.enter(turn)
        self._is_held = turn.is_held

    def _sent(self) -> None:
        if self._incoming.span is not None:
            self._incoming.span.sent()

    def _new_call(self) -> NewCall:
        incoming = self._incoming
        return new_call(
            self._method,
            incoming.options,
            self._calls.settings,
            timeout_s=incoming.deadline.timeout_s(),
            request=b"" if self._uploads else incoming.first or b"",
            digest=incoming.digest,
            traceparent="" if incoming.span is None else incoming.span.producer_traceparent,
            caller=b"" if self._is_everyones else caller_bytes(self._context.principal),
            cache_key=self._key,
        )

    @property
    def _uploads(self) -> bool:
        """Whether a new call's requests follow its record."""
        return self._method.client_streaming and self._key is None

    @property
    def _is_everyones(self) -> bool:
        """Whether callers of all tenants share the method's runs."""
        cache = self._method.route.cache
        return cache is not None and cache.for_everyone

    async def _attach(self) -> tuple[str, bool]:
        """Returns the value of `forebay-attached`, and whether this caller uploads requests.

        The caller that began the upload may have disconnected. The ledger ignores requests that
        it already has.
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
        self._items.attach(self._calls.ledger.seals.snapshot(self._call, snapshot))
        if snapshot.state is State.QUEUED and self._key is None:
            await self._resend(snapshot.attempt)
        has_requests = snapshot.receiving and incoming.first is not None
        return ("running" if snapshot.ending is None else "finished"), has_requests

    async def _snapshot(self) -> CallSnapshot:
        """Registers the watch; raises CallUnknown."""
        snapshot = await self._attached()
        if (
            isinstance(snapshot, Refused)
            and self._own_id
            and self._is_everyones
            and self._call.owner
        ):
            # A caller that resumes has the id of the run that it shares, which has no owner.
            self._move_to(CallKey(self._own_id))
            snapshot = await self._attached()
            tenant = self._context.principal.tenant
            if isinstance(snapshot, CallSnapshot) and not is_shared_run(
                self._incoming, snapshot, tenant
            ):
                raise call_unknown()
        if isinstance(snapshot, Refused):
            raise call_unknown()
        self._calls.watches.on_registered(self._watch)
        self._cache = snapshot.cache
        return snapshot

    async def _attached(self) -> CallSnapshot | Refused:
        self._calls.watches.on_registering(self._watch)
        return await self._calls.ledger.run(attach(self._call, self._calls.watches.channel))

    async def _upload(self) -> None:
        if await self._request_upload().upload(self._queue_up):
            await self._send_or_discard()

    def _queue_up(self) -> tuple[Push, bool]:
        """Puts the call into its queue; returns its message, and whether it is held back."""
        if self._turn is not None:
            self._enter(self._turn)
            if self._is_held:
                return Push(), True
        return ledger_push(self._calls.broker, self._message(1)), False

    async def _send_or_discard(self) -> None:
        """Sends the message of a call whose record is written, unless the ledger pushes it."""
        if self._calls.broker.is_ledger or self._is_held:
            return
        try:
            await self._calls.broker.send(self._message(1))
        except BackendUnavailable:
            # The error allows a retry, which must find no record. If a worker got the message
            # in spite of the error, the call goes on.
            if await self._discarded():
                raise

    async def _discarded(self) -> bool:
        try:
            return await self._calls.ledger.run(discard(self._call)) is None
        except BackendUnavailable:
            # The ledger is unavailable too. A retry with the caller's id attaches to the record.
            if self._own_id is None:
                self._calls.disconnects.abandoned(self._call, self._cache)
            raise

    async def _resend(self, attempt: int) -> None:
        """Sends the message again: the gateway that accepted the call may have died before.

        The call is valid even if this fails, since its first message may be on the broker.
        """
        if self._calls.broker.is_ledger or self._incoming.permit.tenant is not None:
            return  # a tenant's message may be held back, and the reaper repairs what is lost
        try:
            await self._calls.broker.send(self._message(attempt))
            self._calls.resend_outage.succeeded()
        except BackendUnavailable as error:
            _log.debug("the broker does not answer; call %s stays queued", self._call)
            self._calls.resend_outage.failed(error)

    def _message(self, attempt: int) -> TaskMessage:
        return call_message(
            self._call,
            attempt,
            task=self._method.route.task,
            queue=self._method.route.queue,
            priority=self._incoming.options.priority,
        )

    @asynccontextmanager
    async def _open_watch(self) -> AsyncIterator[None]:
        """Receives the call's events; reports a disconnect to the ledger at the end.

        No report is needed for a unary call that has ended, since nothing more is read, or for
        an RPC that the gateway's shutdown ended, since its caller will attach elsewhere.
        """
        ended = False
        with self._calls.watches.open(self._watch):
            try:
                yield
                ended = True
            except grpc.aio.AbortError:
                ended = True
                raise
            finally:
                self._calls.acceptor.on_ended(self._call, self._items.ending)
                if self._turn is not None:
                    self._calls.held.on_rpc_end(self._turn, self._items.ending)
                is_draining = self._calls.ledger_retry.is_draining
                if self._method.server_streaming if ended else not is_draining:
                    self._calls.disconnects.disconnected(self._call, self._cache)
