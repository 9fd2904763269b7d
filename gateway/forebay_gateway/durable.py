"""Durable calls: each is a record in the ledger, and whoever names its id attaches to it.

Messages are bytes all the way; what a worker emits is passed on as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc

from forebay.errors import (
    BackendUnavailable,
    CallIdReused,
    CallUnknown,
    Draining,
    ForebayError,
    TooLarge,
)
from forebay.metadata import ATTACHED, CALL_ID, to_pairs
from forebay.v1 import call_pb2
from forebay_gateway.admission import RETRY_AFTER_S
from forebay_gateway.delivery import Delivery, Done, Fetch, Send, Wait
from forebay_gateway.ids import uuid7
from forebay_gateway.incoming import Context, Incoming
from forebay_gateway.outcomes import failure, trailing_metadata
from forebay_gateway.policy import new_call, request_limit_bytes
from forebay_gateway.status import abort
from forebay_gateway.watches import Watch, Watches
from forebay_ledger.connection import Ledger
from forebay_ledger.dispatch import Dispatcher
from forebay_ledger.events import Ending
from forebay_ledger.keys import CallKey
from forebay_ledger.lifecycle import Event, State
from forebay_ledger.operations import (
    NewCall,
    Push,
    Refused,
    Standing,
    accept,
    complete,
    credit,
    discard,
    end,
    leave,
    receive,
    watch,
)
from forebay_ledger.outcomes import failed
from forebay_ledger.settings import Settings
from forebay_ledger.task_messages import TaskMessage, call_message

HOLD_INITIAL_METADATA_S = 0.1
"""How long the gateway's initial metadata waits for the handler's."""

_log = logging.getLogger(__name__)


class DurableCalls:
    """Serves durable calls. One object a gateway."""

    def __init__(
        self, settings: Settings, ledger: Ledger, dispatcher: Dispatcher, watches: Watches
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.dispatcher = dispatcher
        self.watches = watches
        self.is_cut = False
        self._leaving: set[asyncio.Task[None]] = set()

    async def serve(self, incoming: Incoming, context: Context) -> bytes | None:
        """Accepts the call, or attaches to it, and delivers until it has ended."""
        return await _Service(self, incoming, context).serve()

    def cut(self) -> None:
        """Ends what is still being served with `Draining`; the calls go on in the ledger."""
        self.is_cut = True
        self.watches.ring_all()

    async def settled(self) -> None:
        """Returns when the ledger has been told of all calls that were left; bounded."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=RETRY_AFTER_S)

    def left(self, call: CallKey) -> None:
        """Tells the ledger that a caller has gone, without making anyone wait for it."""
        task = asyncio.create_task(self._leave(call))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _leave(self, call: CallKey) -> None:
        if not self.watches.watched(call):
            try:
                await self.ledger.run(leave(call, self.watches.channel))
            except BackendUnavailable:
                _log.warning("call %s was left; its watch will lapse", call)


class _Service:
    """One RPC on one durable call."""

    def __init__(self, calls: DurableCalls, incoming: Incoming, context: Context) -> None:
        self._calls = calls
        self._ledger = calls.ledger
        self._channel = calls.watches.channel
        self._incoming = incoming
        self._method = incoming.method
        self._context = context
        self._call = CallKey(incoming.wishes.call_id or uuid7())
        self._watch = Watch(Delivery(incoming.wishes.resume_from))
        self._delivery = self._watch.delivery

    async def serve(self) -> bytes | None:
        """Runs the RPC; a unary method's response is returned."""
        async with self._watching():
            if not self._only_attaches() and await self._accept():
                attached = "new"
                if self._method.client_streaming:
                    await self._spool()
            else:
                attached = await self._attach()
            return await self._deliver(attached)

    def _only_attaches(self) -> bool:
        named = self._incoming.wishes.call_id is not None
        return bool(self._incoming.wishes.resume_from) or (named and self._incoming.first is None)

    async def _accept(self) -> bool:
        """Writes the record and sends its message; False where the id stands for a call."""
        new = self._new_call()
        self._delivery.ahead_bytes = min(new.window_bytes, new.item_limit_bytes)
        message = self._message_of(1)
        push = Push() if new.receiving else self._calls.dispatcher.push_of(message)
        known = await self._ledger.run(accept(self._call, new, self._channel, push))
        # An id of our own is known only where the accept itself was sent twice.
        accepted = known is None or self._incoming.wishes.call_id is None
        self._watch.registered = accepted
        if accepted and not new.receiving:
            await self._send(push, message)
        return accepted

    def _new_call(self) -> NewCall:
        incoming = self._incoming
        return new_call(
            self._method,
            incoming.wishes,
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
            priority=self._incoming.wishes.priority,
        )

    async def _attach(self) -> str:
        standing = _known(await self._ledger.run(watch(self._call, self._channel)))
        self._watch.registered = True
        incoming = self._incoming
        if standing.method != self._method.name or (
            incoming.first is not None and standing.digest != incoming.digest
        ):
            raise CallIdReused(
                f"the call id {self._call.id!r} stands for another call: give every call its own"
            )
        self._delivery.attach(standing)
        if standing.state is State.QUEUED:
            await self._send_again(self._message_of(standing.attempt))
        return "running" if standing.ending is None else "finished"

    async def _spool(self) -> None:
        """Puts the requests into the ledger as they come, then queues the call."""
        limit = request_limit_bytes(self._method, self._calls.settings)
        try:
            ordinal, request = 0, self._incoming.first
            while request is not None:
                refused = await self._ledger.run(receive(self._call, ordinal, request, limit))
                if refused is not None:
                    if refused.why == "TOO_LARGE":
                        raise TooLarge(f"the requests are over the method's limit of {limit} bytes")
                    return  # ended meanwhile; the delivery says how
                ordinal += 1
                request = await anext(self._incoming.rest, None)
        except ForebayError as error:
            outcome = failed(error).SerializeToString()
            await self._ledger.run(end(self._call, Event.FAIL, error.reason, outcome))
            raise
        message = self._message_of(1)
        push = self._calls.dispatcher.push_of(message)
        if await self._ledger.run(complete(self._call, push)) is None:
            await self._send(push, message)

    async def _send(self, push: Push, message: TaskMessage) -> None:
        """Sends the message of a call whose record is written, unless it is pushed with it."""
        if push.queue_list:
            return
        try:
            await self._calls.dispatcher.send(message)
        except BackendUnavailable:
            # The error says that a retry may help, so it must find no record. Where a worker
            # has the message after all, the call goes on.
            if await self._ledger.run(discard(self._call)) is None:
                raise

    async def _send_again(self, message: TaskMessage) -> None:
        """Sends the message of another's call, who may have died before sending it.

        The call stands whether or not that succeeds: its first message may be on its way.
        """
        if self._calls.dispatcher.push_of(message).queue_list:
            return
        try:
            await self._calls.dispatcher.send(message)
        except BackendUnavailable:
            _log.warning("the broker does not answer; call %s waits on", self._call)

    async def _deliver(self, attached: str) -> bytes | None:
        """Hands out items until the call has ended; a unary method's response is returned."""
        await self._send_initial_metadata(attached)
        response: bytes | None = None
        while True:
            match self._delivery.take():
                case Send(payload):
                    if self._method.server_streaming:
                        await self._context.write(payload)
                        await self._acknowledge(self._delivery.acknowledge())
                    else:
                        response = payload
                case Fetch(first, count):
                    items = await self._ledger.items(self._call, first, count)
                    self._delivery.on_fetched(items)
                case Wait():
                    await self._wait()
                case Done(ending):
                    await self._end(ending)
                    return response

    async def _send_initial_metadata(self, attached: str) -> None:
        if self._delivery.idle:
            await self._watch.news(HOLD_INITIAL_METADATA_S)
        handlers = call_pb2.Metadata.FromString(self._delivery.initial or b"")
        await self._context.send_initial_metadata(
            ((CALL_ID, self._call.id), (ATTACHED, attached), *to_pairs(handlers))
        )

    async def _wait(self) -> None:
        if self._calls.is_cut:
            raise Draining(
                f"the gateway is shutting down; call again with {CALL_ID} {self._call.id}",
                retry_after_s=RETRY_AFTER_S,
            )
        await self._watch.news()
        standing = self._watch.standing()
        if standing is not None:
            await self._acknowledge(self._delivery.acknowledge(idle=True))
            self._delivery.on_standing(_known(standing))

    async def _acknowledge(self, read_count: int | None) -> None:
        if read_count is not None:
            await self._ledger.run(credit(self._call, read_count))

    async def _end(self, ending: Ending) -> None:
        trailing = trailing_metadata(ending)
        error = failure(ending, may_run_again=self._method.may_run_again)
        if error is not None:
            await abort(self._context, error, trailing)
        self._context.set_trailing_metadata(tuple(trailing))

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
                if self._method.server_streaming if ended else not self._calls.is_cut:
                    self._calls.left(self._call)


def _known(standing: Standing | Refused) -> Standing:
    if isinstance(standing, Refused):
        raise CallUnknown("no call of that id is known, or its retention is over")
    return standing
