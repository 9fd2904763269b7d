"""Durable calls: each is a record in the ledger, and whoever names its id attaches to it.

Messages are bytes all the way; what a worker emits is passed on as it is.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import grpc

from forebay.errors import (
    BackendUnavailable,
    CallIdReused,
    CallUnknown,
)
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.broker.task_messages import TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.operations.calls import NewCall, attach, discard, watch
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.settings import Settings
from forebay_gateway.durable.accept import Acceptor
from forebay_gateway.durable.disconnect import Disconnects
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_upload import RequestUpload
from forebay_gateway.durable.response_writer import ResponseWriter
from forebay_gateway.durable.watches import Watch, Watches
from forebay_gateway.rpc.incoming import Context, IncomingCall
from forebay_gateway.rpc.policy import new_call
from forebay_gateway.rpc.uuid7 import uuid7

_log = logging.getLogger(__name__)


class DurableCalls:
    """Serves durable calls. One object a gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        dispatcher: Dispatcher,
        watches: Watches,
        slots: Callable[[str], int],
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.dispatcher = dispatcher
        self.watches = watches
        self.ledger_retry = LedgerRetry()
        pipeliner = Pipeliner(ledger)
        self.acceptor = Acceptor(ledger, pipeliner, dispatcher, watches.channel, slots)
        self.disconnects = Disconnects(ledger, pipeliner, watches, self.ledger_retry)

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Accepts the call, or attaches to it, and delivers until it has ended."""
        return await _DurableRpc(self, incoming, context).serve()

    async def knows(self, call_id: str) -> bool:
        """Whether the id stands for a call; its record is kept alive as for one who attaches."""
        snapshot = await self.ledger.run(watch(CallKey(call_id), self.watches.channel))
        return not isinstance(snapshot, Refused)

    def cut(self) -> None:
        """Ends what is still being served with `Draining`; the calls go on in the ledger."""
        self.ledger_retry.end()
        self.watches.wake_all()

    async def join(self) -> None:
        """Returns when the ledger has been told of all calls that were left; bounded."""
        await self.disconnects.join()


class _DurableRpc:
    """One RPC on one durable call."""

    def __init__(self, calls: DurableCalls, incoming: IncomingCall, context: Context) -> None:
        self._calls = calls
        self._ledger = calls.ledger
        self._ledger_retry = calls.ledger_retry
        self._channel = calls.watches.channel
        self._incoming = incoming
        self._method = incoming.method
        self._context = context
        self._call = CallKey(incoming.options.call_id or uuid7())
        self._watch = Watch(ItemSequence(incoming.options.resume_from, incoming.permit))
        self._delivery = self._watch.delivery
        self._writer = ResponseWriter(
            self._call,
            self._watch,
            context,
            self._method,
            ledger=calls.ledger,
            watches=calls.watches,
            ledger_retry=calls.ledger_retry,
        )
        self._upload = RequestUpload(
            self._call,
            self._watch,
            incoming,
            ledger=calls.ledger,
            settings=calls.settings,
            ledger_retry=calls.ledger_retry,
        )

    async def serve(self) -> bytes | None:
        """Runs the RPC; a unary method's response is returned."""
        async with self._watching():
            if not self._incoming.only_attaches and await self._accept():
                attached, more_to_come = "new", self._method.client_streaming
            else:
                attached, more_to_come = await self._attach()
            if more_to_come and not self._method.route.live:
                await self._receive()
                more_to_come = False
            async with self._receiving(more_to_come):
                return await self._writer.deliver(attached)

    def _receiving(self, more_to_come: bool) -> AbstractAsyncContextManager[None]:
        return self._upload.receiving() if more_to_come else nullcontext()

    async def _accept(self) -> bool:
        """Writes the record and sends its message; False where the id stands for a call."""
        new = self._new_call()
        self._delivery.ahead_bytes = min(new.window_bytes, new.item_limit_bytes)
        message = self._message_of(1)
        self._calls.watches.asked(self._watch)
        try:
            known = await self._calls.acceptor.accept(self._call, self._method, new, message)
        except BackendUnavailable:
            if self._incoming.options.call_id is None:
                self._calls.disconnects.abandoned(self._call)
            raise
        # An id of our own is known only where the accept itself was sent twice.
        accepted = known is None or self._incoming.options.call_id is None
        if accepted:
            self._calls.watches.registered(self._watch)
        if accepted and not new.receiving:
            await self._send(message)
        return accepted

    def _new_call(self) -> NewCall:
        incoming = self._incoming
        return new_call(
            self._method,
            incoming.options,
            self._calls.settings,
            timeout_s=incoming.deadline.timeout_s(),
            request=b"" if self._method.client_streaming else incoming.first or b"",
            digest=incoming.digest,
        )

    def _message_of(self, attempt: int) -> TaskMessage:
        return call_message(
            self._call,
            attempt,
            task=self._method.route.task,
            queue=self._method.route.queue,
            priority=self._incoming.options.priority,
        )

    async def _attach(self) -> tuple[str, bool]:
        """How the call stands, and whether this caller has requests for it.

        Whoever received them may be gone. What is in the ledger is not put there again.
        """
        self._calls.watches.asked(self._watch)
        snapshot = await self._ledger.run(attach(self._call, self._channel))
        if isinstance(snapshot, Refused):
            raise CallUnknown("no call of that id is known, or its retention is over")
        self._calls.watches.registered(self._watch)
        incoming = self._incoming
        if snapshot.method != self._method.name or (
            incoming.first is not None and snapshot.digest != incoming.digest
        ):
            raise CallIdReused(
                f"the call id {self._call.id!r} stands for another call: give every call its own"
            )
        self._delivery.attach(snapshot)
        if snapshot.state is State.QUEUED:
            await self._send_again(self._message_of(snapshot.attempt))
        more_to_come = snapshot.receiving and incoming.first is not None
        return ("running" if snapshot.ending is None else "finished"), more_to_come

    async def _receive(self) -> None:
        """Receives all requests, which queues the call, and sends its message."""
        message = self._message_of(1)
        if await self._upload.receive(self._calls.dispatcher.push_of(message)):
            await self._send(message)

    async def _send(self, message: TaskMessage) -> None:
        """Sends the message of a call whose record is written, unless it is pushed with it."""
        if self._calls.dispatcher.pushes:
            return
        try:
            await self._calls.dispatcher.send(message)
        except BackendUnavailable:
            # The error says that a retry may help, so it must find no record. Where a worker
            # has the message after all, the call goes on.
            if await self._discarded():
                raise

    async def _discarded(self) -> bool:
        try:
            return await self._ledger.run(discard(self._call)) is None
        except BackendUnavailable:
            # Both are away. A call of the caller's own id stands, for the retry to attach to.
            if self._incoming.options.call_id is None:
                self._calls.disconnects.abandoned(self._call)
            raise

    async def _send_again(self, message: TaskMessage) -> None:
        """Sends the message of another's call, who may have died before sending it.

        The call stands whether or not that succeeds: its first message may be on its way.
        """
        if self._calls.dispatcher.pushes:
            return
        try:
            await self._calls.dispatcher.send(message)
        except BackendUnavailable:
            _log.warning("the broker does not answer; call %s waits on", self._call)

    @asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        """Hears of the call; sees to it that the ledger hears when the caller has gone.

        A unary call that has ended needs no word: nobody reads on. A caller that a
        shutdown cut off has not left, but comes back elsewhere.
        """
        ended = False
        with self._calls.watches.open(self._call, self._watch):
            try:
                yield
                ended = True
            except grpc.aio.AbortError:
                ended = True
                raise
            finally:
                self._calls.acceptor.ended(self._call, self._delivery.ending)
                if self._method.server_streaming if ended else not self._calls.ledger_retry.is_over:
                    self._calls.disconnects.disconnected(self._call)
