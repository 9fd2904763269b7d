"""Accepts one durable call: takes its turn in its tenant's queue, writes its record, sends it."""

from __future__ import annotations

from forebay.errors import BackendUnavailable, QuotaExceeded
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.cache import Joined
from forebay_backends.ledger.operations.calls import ExistingCall, NewCall
from forebay_gateway.durable.held_calls import Turn
from forebay_gateway.durable.parts import DurableParts
from forebay_gateway.durable.watch import Watch
from forebay_gateway.identity.caller import caller_bytes
from forebay_gateway.identity.principal import Principal
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.policy import new_call
from forebay_gateway.rpc.start_time import delay_s


class Acceptance:
    """Accepts the call of one RPC; the RPC has opened `watch`.

    `own_id` is the id that the call must have; None if it may have any.
    """

    def __init__(
        self,
        parts: DurableParts,
        incoming: IncomingCall,
        principal: Principal,
        watch: Watch,
        own_id: str | None,
    ) -> None:
        self._parts = parts
        self._incoming = incoming
        self._method = incoming.method
        self._principal = principal
        self._watch = watch
        self._key = incoming.cache_key
        self._own_id = own_id
        self._turn: Turn | None = None
        """The call's place in its tenant's queue; None where there are no tenants."""
        self._is_held = False
        """Whether the message was held back when the call entered its tenant's queue."""
        self._traceparent = ""

    @property
    def uploads(self) -> bool:
        """Whether a new call's requests follow its record."""
        return self._method.client_streaming and self._key is None

    async def accept(self) -> bool:
        """Writes the record and sends its message.

        Returns False if a call with this id exists, or if the call joined a run: the RPC must
        then attach.
        """
        new = self._new_call()
        self._traceparent = new.traceparent
        try:
            await self._take_turn(new)
        except QuotaExceeded:
            if await self._adds_no_work():
                return False
            raise
        self._watch.items.credit_window_bytes = min(new.window_bytes, new.item_limit_bytes)
        self._parts.watches.on_registering(self._watch)
        try:
            existing = await self._accept_or_join(new)
        except BackendUnavailable:
            if self._own_id is None:
                self._parts.disconnects.abandoned(self._watch.call, self._cache)
            raise
        # An id that the gateway generated can exist only because the accept was sent twice.
        accepted = existing is None or (self._own_id is None and not isinstance(existing, Joined))
        if accepted:
            await self._accepted(new)
        elif self._turn is not None:
            self._parts.held.leave(self._turn)
            self._turn = None
        return accepted

    async def send_or_discard(self) -> None:
        """Sends the message of the call, whose record is written, unless it is held back."""
        if self._is_held:
            return
        await self._parts.messages.send_or_discard(
            *(self._watch.call, self._method, self._incoming.options.priority),
            traceparent=self._traceparent,
            is_known=self._own_id is not None,
            cache=self._cache,
        )

    def queue_up(self) -> tuple[Push, bool]:
        """Puts the call into its queue; returns its message, and whether it is held back."""
        if self._turn is not None:
            self._enter(self._turn)
            if self._is_held:
                return Push(), True
        priority = self._incoming.options.priority
        push = self._parts.messages.push(
            self._watch.call, self._method, priority, self._traceparent
        )
        return push, False

    def sent(self) -> None:
        """Tells the call's span, if it has one, that the message was sent."""
        if self._incoming.span is not None:
            self._incoming.span.sent()

    def on_rpc_end(self, ending: Ending | None) -> None:
        """Must be called when the RPC is over; its call may go on."""
        if self._turn is not None:
            self._parts.held.on_rpc_end(self._turn, ending)

    @property
    def _cache(self) -> str:
        """The cache key of the run; empty if it has none."""
        return "" if self._key is None else self._key.digest

    def _new_call(self) -> NewCall:
        incoming, cache = self._incoming, self._method.route.cache
        is_everyones = cache is not None and cache.for_everyone
        return new_call(
            self._method,
            incoming.options,
            self._parts.settings,
            timeout_s=incoming.deadline.timeout_s(),
            request=b"" if self.uploads else incoming.first or b"",
            digest=incoming.digest,
            is_sampled=incoming.span is not None and incoming.span.is_recording,
            caller=b"" if is_everyones else caller_bytes(self._principal),
            cache_key=self._key,
        )

    async def _accepted(self, new: NewCall) -> None:
        if self._method.operation is None:
            self._parts.watches.on_registered(self._watch)
        self._incoming.meter.accepted()
        if self._turn is not None:
            self._parts.held.on_stored(self._turn)
        if new.start is not None:
            self._parts.delayed.expect(self._watch.call, delay_s(new.start))
        elif not new.receiving:
            await self.send_or_discard()
            self.sent()

    async def _accept_or_join(self, new: NewCall) -> Joined | ExistingCall | None:
        call, held = self._watch.call, self._is_held
        sealed = self._parts.ledger.seals.new_call(call, new)
        if self._key is None:
            return await self._parts.acceptor.accept(call, self._method, sealed, held=held)
        cached = self._parts.cached
        with cached.asking(self._key.digest):
            existing = await cached.accept(call, self._method, sealed, self._key, held=held)
            if isinstance(existing, Joined):
                self._join(existing.call)
        return existing

    async def _adds_no_work(self) -> bool:
        """Whether the call is in the ledger, or has now joined a run."""
        if self._key is None:
            return self._own_id is not None and await self._parts.has_call(self._watch.call)
        with self._parts.cached.asking(self._key.digest):
            found = await self._parts.cached.join(self._incoming)
            if found is not None:
                self._join(found)
        return found is not None

    def _join(self, call: CallKey) -> None:
        self._parts.watches.move(self._watch, call)
        self._incoming.on_joined()

    async def _take_turn(self, new: NewCall) -> None:
        """Enters the call into its tenant's queue; raises QuotaExceeded.

        A call that still receives requests enters the queue later, in `queue_up`. A delayed call
        enters when it is due, maybe at another gateway.
        """
        tenant = self._incoming.permit.tenant
        if tenant is not None and new.start is None:
            turn = await self._parts.held.turn(tenant, self._watch.call, self._method, new)
            self._turn = turn
            if not new.receiving:
                self._enter(turn)

    def _enter(self, turn: Turn) -> None:
        self._parts.held.enter(turn)
        self._is_held = turn.is_held
