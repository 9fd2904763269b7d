"""One funnel for every call: metadata, deadline, checks, admission, accept, deliver, status.

A durable call is a record in the ledger; whoever names its id attaches to it. An
ephemeral one lives in this process. Messages are bytes all the way: the gateway
parses requests, to check them, and never a response.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc

from forebay.checks import Check, CheckFactory, NoCheck
from forebay.deadline import Deadline
from forebay.errors import (
    BackendUnavailable,
    CallIdReused,
    CallUnknown,
    DeadlineExceeded,
    Draining,
    ForebayError,
    InternalFault,
    TooLarge,
)
from forebay.metadata import ATTACHED, CALL_ID, Pairs, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_gateway.admission import RETRY_AFTER_S, Admission
from forebay_gateway.delivery import Delivery, Done, Fetch, Send, Wait
from forebay_gateway.dispatch import Dispatcher
from forebay_gateway.ephemeral import EphemeralCalls
from forebay_gateway.ids import uuid7
from forebay_gateway.metadata import Wishes, read_wishes
from forebay_gateway.outcomes import failure, failure_of, times, trailing_metadata
from forebay_gateway.policy import new_call, request_limit_bytes
from forebay_gateway.status import abort, parsed
from forebay_gateway.watches import LOOK_EVERY_S, Watch, Watches
from forebay_ledger.connection import Ledger
from forebay_ledger.events import Ending
from forebay_ledger.keys import CallKey
from forebay_ledger.lifecycle import Event
from forebay_ledger.operations import (
    Push,
    Refused,
    Standing,
    accept,
    complete,
    credit,
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

Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
Requests: TypeAlias = AsyncIterator[bytes]

_log = logging.getLogger(__name__)


class Funnel:
    """Serves calls of every routed method. One object a gateway."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        dispatcher: Dispatcher,
        watches: Watches,
        ephemeral: EphemeralCalls,
        admission: Admission,
        checks: dict[str, CheckFactory],
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._watches = watches
        self._ephemeral = ephemeral
        self._admission = admission
        self._checks = checks
        self._afterwork: set[asyncio.Task[Any]] = set()
        self._cut = False

    def handler(self, method: Method) -> grpc.RpcMethodHandler[bytes, bytes]:
        """What a server calls for the method. Messages are passed as bytes."""

        async def unary_request(request: bytes, context: Context) -> bytes | None:
            return await self._serve(method, _one(request), context)

        async def stream_request(requests: Requests, context: Context) -> bytes | None:
            return await self._serve(method, aiter(requests), context)

        behavior: Any = stream_request if method.client_streaming else unary_request
        match method.client_streaming, method.server_streaming:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(behavior)
            case False, True:
                return grpc.unary_stream_rpc_method_handler(behavior)
            case True, False:
                return grpc.stream_unary_rpc_method_handler(behavior)
            case _:
                return grpc.stream_stream_rpc_method_handler(behavior)

    def cut(self) -> None:
        """Ends what is still in flight with `Draining`; the calls go on in the ledger."""
        self._cut = True
        self._ephemeral.cut()
        self._watches.ring_all()

    async def settle_afterwork(self) -> None:
        """Waits for what is still to be said to the ledger about calls that were left."""
        if self._afterwork:
            await asyncio.wait(self._afterwork, timeout=RETRY_AFTER_S)

    async def _serve(self, method: Method, requests: Requests, context: Context) -> bytes | None:
        try:
            wishes = read_wishes(context.invocation_metadata() or (), method.route)
            deadline = Deadline.after(context.time_remaining())
            if deadline.passed:
                raise DeadlineExceeded("the deadline passed before the call came in")
            check = self._checks.get(method.name, NoCheck)()
            first = await self._first(method, requests, check, wishes)
            with self._admission.admit():
                if method.route.ephemeral and wishes.call_id is None and first is not None:
                    return await self._serve_ephemeral(method, first, wishes, deadline, context)
                return await self._serve_durable(
                    method, first, requests, check, wishes, deadline, context
                )
        except ForebayError as error:
            await abort(context, error)
        except (asyncio.CancelledError, grpc.aio.AbortError):
            raise
        except Exception:
            _log.exception("%s failed in the gateway", method.name)
            await abort(context, InternalFault("the gateway failed; its log says how"))

    async def _first(
        self, method: Method, requests: Requests, check: Check, wishes: Wishes
    ) -> bytes | None:
        """The first request, checked; None where a stream is empty and an id is given."""
        first = await anext(requests, None)
        if first is None:
            if wishes.call_id is None:
                check.end()
            return None
        self._check(method, check, first)
        if not method.client_streaming:
            check.end()
        return first

    def _check(self, method: Method, check: Check, request: bytes) -> None:
        limit = self._settings.max_message_bytes
        if len(request) > limit:
            raise TooLarge(
                f"a request message of {len(request)} bytes is over this server's limit of {limit}"
            )
        check.feed(parsed(method.request_class, request))

    async def _serve_ephemeral(
        self, method: Method, request: bytes, wishes: Wishes, deadline: Deadline, context: Context
    ) -> bytes:
        call_id = uuid7()
        context.set_trailing_metadata(((CALL_ID, call_id),))
        reply = await self._ephemeral.call(
            method,
            call_pb2.BatchMember(call_id=call_id, request=request, metadata=wishes.handed_on),
            channel=self._watches.channel,
            priority=wishes.priority,
            deadline=deadline,
            queue_wait_s=method.route.limits.queue_wait_s or self._settings.queue_wait_s,
        )
        trailing: Pairs = (
            (CALL_ID, call_id),
            *times(reply.queue_ms, reply.run_ms, 1),
            *to_pairs(reply.outcome.trailing_metadata),
        )
        if reply.initial_metadata.entries:
            await context.send_initial_metadata(to_pairs(reply.initial_metadata))
        error = failure_of(reply.outcome)
        if error is not None:
            await abort(context, error, trailing)
        context.set_trailing_metadata(tuple(trailing))
        return reply.response

    async def _serve_durable(
        self,
        method: Method,
        first: bytes | None,
        requests: Requests,
        check: Check,
        wishes: Wishes,
        deadline: Deadline,
        context: Context,
    ) -> bytes | None:
        call = CallKey(wishes.call_id or uuid7())
        view = Watch(Delivery(wishes.resume_from))
        async with self._watching(call, view, linger=method.server_streaming):
            new = await self._accept(call, method, first, wishes, deadline, view)
            attached = "new"
            if not new:
                attached = await self._attach(call, method, first, view)
            elif wishes.resume_from:
                raise CallUnknown("no such call, or its retention is over; nothing to resume")
            elif method.client_streaming:
                await self._spool(call, method, first, requests, check, wishes)
            return await self._deliver(call, method, view, attached, context)

    async def _accept(
        self,
        call: CallKey,
        method: Method,
        first: bytes | None,
        wishes: Wishes,
        deadline: Deadline,
        view: Watch,
    ) -> bool:
        """Writes the record and sends its message; False where the id stands for a call."""
        if first is None and wishes.call_id is not None:
            return False
        if wishes.resume_from:
            return False
        new = new_call(
            method,
            wishes,
            self._settings,
            timeout_s=deadline.timeout_s(),
            request=b"" if method.client_streaming else first or b"",
            digest=_digest(first),
        )
        view.delivery.ahead_bytes = min(new.window_bytes, new.item_limit_bytes)
        message = _message(call, method, wishes)
        push = self._dispatcher.push_of(message)
        if method.client_streaming:
            known = await self._ledger.run(accept(call, new, self._watches.channel, Push()))
        else:
            known = await self._ledger.run(accept(call, new, self._watches.channel, push))
            if known is None and not push.queue_list:
                await self._send(call, message)
        # An id of our own is known only where the accept itself was sent twice.
        return known is None or wishes.call_id is None

    async def _attach(self, call: CallKey, method: Method, first: bytes | None, view: Watch) -> str:
        standing = await self._look(call)
        if standing.method != method.name or (
            first is not None and standing.digest != _digest(first)
        ):
            raise CallIdReused(
                f"the call id {call.id!r} stands for another call: give every call its own"
            )
        view.delivery.attach(standing)
        return "running" if standing.ending is None else "finished"

    async def _spool(
        self,
        call: CallKey,
        method: Method,
        first: bytes | None,
        requests: Requests,
        check: Check,
        wishes: Wishes,
    ) -> None:
        """Puts the requests into the ledger as they come, then queues the call."""
        limit = request_limit_bytes(method, self._settings)
        try:
            ordinal, request = 0, first
            while request is not None:
                refused = await self._ledger.run(receive(call, ordinal, request, limit))
                if refused is not None:
                    if refused.why == "TOO_LARGE":
                        raise TooLarge(f"the requests are over the method's limit of {limit} bytes")
                    return  # ended meanwhile; the delivery says how
                ordinal += 1
                request = await anext(requests, None)
                if request is not None:
                    self._check(method, check, request)
            check.end()
        except ForebayError as error:
            await self._ledger.run(
                end(call, Event.FAIL, error.reason, failed(error).SerializeToString())
            )
            raise
        message = _message(call, method, wishes)
        push = self._dispatcher.push_of(message)
        if await self._ledger.run(complete(call, push)) is None and not push.queue_list:
            await self._send(call, message)

    async def _send(self, call: CallKey, message: TaskMessage) -> None:
        """Sends the message of a call whose record is written."""
        try:
            await self._dispatcher.send(message)
        except BackendUnavailable as error:
            await self._ledger.run(end(call, Event.FAIL, error.reason))
            raise

    async def _deliver(
        self, call: CallKey, method: Method, view: Watch, attached: str, context: Context
    ) -> bytes | None:
        """Hands out items until the call has ended; a unary method's response is returned."""
        if view.delivery.idle:
            await view.news(HOLD_INITIAL_METADATA_S)
        initial = call_pb2.Metadata.FromString(view.delivery.initial or b"")
        await context.send_initial_metadata(
            ((CALL_ID, call.id), (ATTACHED, attached), *to_pairs(initial))
        )
        response: bytes | None = None
        while True:
            match view.delivery.take():
                case Send(payload):
                    if method.server_streaming:
                        await context.write(payload)
                        await self._acknowledge(call, view.delivery.acknowledge())
                    else:
                        response = payload
                case Fetch(first, count):
                    view.delivery.on_fetched(await self._ledger.items(call, first, count))
                case Wait():
                    await self._wait(call, view)
                case Done(ending):
                    await self._end(ending, context)
                    return response

    async def _wait(self, call: CallKey, view: Watch) -> None:
        if self._cut:
            raise Draining(
                f"the gateway is shutting down; call again with {CALL_ID} {call.id}",
                retry_after_s=RETRY_AFTER_S,
            )
        if not await view.news(LOOK_EVERY_S) or view.stale:
            view.stale = False
            await self._acknowledge(call, view.delivery.acknowledge(idle=True))
            view.delivery.on_standing(await self._look(call))

    async def _look(self, call: CallKey) -> Standing:
        standing = await self._ledger.run(watch(call, self._watches.channel))
        if isinstance(standing, Refused):
            raise CallUnknown("no call of that id is known, or its retention is over")
        return standing

    async def _acknowledge(self, call: CallKey, read_count: int | None) -> None:
        if read_count is not None:
            await self._ledger.run(credit(call, read_count))

    async def _end(self, ending: Ending, context: Context) -> None:
        trailing = trailing_metadata(ending)
        error = failure(ending)
        if error is not None:
            await abort(context, error, trailing)
        context.set_trailing_metadata(tuple(trailing))

    @asynccontextmanager
    async def _watching(self, call: CallKey, view: Watch, *, linger: bool) -> AsyncIterator[None]:
        """Hears of the call; says so to the ledger when the caller has gone.

        A unary call that has been answered needs no word: nothing watches over it.
        A caller that a shutdown cut off has not left, but comes back elsewhere.
        """
        finished = False
        with self._watches.open(call, view):
            try:
                yield
                finished = True
            except grpc.aio.AbortError:
                finished = True
                raise
            finally:
                left_early = not finished and not self._cut
                if left_early or (finished and linger):
                    self._after(self._leave(call))

    async def _leave(self, call: CallKey) -> None:
        if not self._watches.watched(call):
            try:
                await self._ledger.run(leave(call, self._watches.channel))
            except BackendUnavailable:
                _log.warning("call %s was left; its watch will lapse", call)

    def _after(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._afterwork.add(task)
        task.add_done_callback(self._afterwork.discard)


async def _one(request: bytes) -> Requests:
    yield request


def _digest(first: bytes | None) -> str:
    return hashlib.sha256(first or b"").hexdigest()


def _message(call: CallKey, method: Method, wishes: Wishes) -> TaskMessage:
    return call_message(
        call, 1, task=method.route.task, queue=method.route.queue, priority=wishes.priority
    )
