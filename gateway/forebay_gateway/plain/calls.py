"""Serves calls of plain Celery tasks: sends the task, waits for its result, returns the responses.

Each application has an object of its own here, with its connections, its calls in flight and its
health, so that an outage of one does not affect the others.

The calls live in this gateway's memory and have no record. A call's id is its task's id; the
gateway always makes it, never the caller, so that no caller can name another's task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any, NoReturn

from google.protobuf.message import Message

from forebay.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    Draining,
    ForebayError,
    NoWorkers,
    QueueWait,
    ResultUnfit,
    TooLarge,
)
from forebay.metadata import ATTACHED, CALL_ID
from forebay.routes import Method
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.reconnecting import RECONNECT_DELAY_S
from forebay_backends.settings import CeleryApplication, Settings
from forebay_backends.telemetry.call_labels import name_call
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.fair_queues.fair_queue import Place
from forebay_gateway.fair_queues.fair_queues import FairQueues
from forebay_gateway.plain.brokers.base import Withdrawal
from forebay_gateway.plain.brokers.celery_messages import (
    FOLLOWER_SUFFIX,
    Reply,
    revoke,
)
from forebay_gateway.plain.brokers.choice import make_plain_broker, make_results
from forebay_gateway.plain.in_flight import InFlight, PlainCall, labelled
from forebay_gateway.plain.inspection import PlainWorkers
from forebay_gateway.plain.mapping.result_meta import read_meta, too_large
from forebay_gateway.plain.mapping.results import response, responses
from forebay_gateway.plain.mapping.scalars import Unfit
from forebay_gateway.plain.task_outcome import Failed, Progress, Result, outcome
from forebay_gateway.plain.task_request import task_of
from forebay_gateway.plain.watchdog import Watchdog
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.large_sends import LargeSends
from forebay_gateway.rpc.policy import queue_wait_s, run_time_s
from forebay_gateway.rpc.uuid7 import uuid7

_QUEUE_RETRY_DELAY_S = 0.5
_SLOTS_IF_UNKNOWN = 16
"""Of a queue whose workers do not answer inspections."""
_SLOTS_FOR_S = 1.0
"""How long a queue's number of slots is taken for known."""
_REVOKE_TIMEOUT_S = 2.0
_REVOKE_RETRY_S = 60.0
_TOO_LARGE_HINT = (
    "; FOREBAY_MAX_MESSAGE_BYTES is the limit on messages, and JSON may be four times as large"
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Turn:
    """A call's place in its tenant's queue, and the event of its turn."""

    place: Place
    comes: asyncio.Event


class PlainCalls:
    """Serves calls of plain tasks of one application, with connections of its own."""

    def __init__(
        self, settings: Settings, application: CeleryApplication, methods: Sequence[Method] = ()
    ) -> None:
        self._settings = settings
        self._methods = [
            each for each in methods if each.is_plain and each.application == application.name
        ]
        self.queues = sorted({each.route.queue for each in self._methods})
        self._called = application.called("broker")
        self._prefix = f"{os.urandom(4).hex()}-"
        self._in_flight = InFlight()
        self.fair = FairQueues(settings.tenants, self._slots)
        self._has_tenants = settings.auth.is_on or bool(settings.tenants)
        self._known_slots: dict[str, int] = {}
        self._background_tasks = BackgroundTasks()
        self._large_sends = LargeSends()
        self._reply_queue = f"forebay.reply.{self._prefix}{uuid7()}"
        self.broker = make_plain_broker(application, self._reply_queue, self._on_reply)
        self._results = make_results(
            application,
            self._prefix,
            self._on_meta,
            lambda: [call.id for call in self._in_flight if call.sent],
        )
        self._watchdog = Watchdog(
            self._in_flight, self.broker, self._results, self._reply_queue, application
        )
        self.workers = PlainWorkers(
            self.broker, self._reply_queue, application, settings.max_message_bytes
        )

    def worker_slots(self, queue: str) -> dict[str, int] | None:
        """The live workers that can run a task of the queue, and their slots; None if unknown."""
        if not self.workers.inspected:
            return None
        return {
            worker: consumers.slots // len(consumers.workers)
            for method in self._methods
            if method.route.queue == queue
            for consumers in (self.workers.consumers_of(method),)
            for worker in consumers.workers
        }

    def _slots(self, queue: str) -> int:
        slots = self._known_slots.get(queue)
        if slots is None:
            found = self.worker_slots(queue)
            slots = _SLOTS_IF_UNKNOWN if found is None else sum(found.values())
            self._known_slots[queue] = slots
            asyncio.get_running_loop().call_later(_SLOTS_FOR_S, self._known_slots.pop, queue)
        return slots

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Sends the call's task and returns or streams its responses; raises a ForebayError."""
        method, limits = incoming.method, self._settings
        task_id = f"{self._prefix}{uuid7()}"
        name_call(task_id)
        message = task_of(
            incoming,
            task_id,
            self._reply_queue,
            limits,
            datetime.now(UTC),
            by_rpc=self._results is None,
        )
        call = PlainCall(
            task_id,
            method,
            message,
            incoming.permit,
            queue_wait_s(method, limits),
            run_time_s(method, limits) or inf,
            time.monotonic(),
            tenant=context.principal.tenant,
        )
        turn = await self._turn(incoming)
        self._in_flight.add(call)
        try:
            async with asyncio.timeout(incoming.deadline.timeout_s()):
                if turn is not None:
                    await self._wait_for(turn, call)
                async with self._large_sends.turn(len(incoming.first or b"")):
                    await self._send(call)
                incoming.meter.accepted()
                if incoming.span is not None:
                    incoming.span.sent()
                await context.send_initial_metadata(((CALL_ID, call.id), (ATTACHED, "new")))
                if not method.server_streaming:
                    only = self._checked(await self._response(call))
                    incoming.meter.response(len(only))
                    return only
                async for item in self._items(call):
                    payload = self._checked(item)
                    incoming.meter.item(len(payload))
                    await context.write(payload)
                return None
        except TimeoutError:
            raise DeadlineExceeded("the call's deadline passed") from None
        finally:
            detach = incoming.options.detach
            if turn is not None and detach and call.ending is None:
                self._background_tasks.start(self._go_on(call, turn))
            else:
                self._in_flight.remove(call)
                if turn is not None:
                    self.fair.leave(turn.place)
            if call.sent and not call.task_ended and not (detach and call.refusal is None):
                plain = method.route.plain
                terminate = not (detach or (plain is not None and plain.let_finish))
                self._background_tasks.start(self._revoke(call, terminate=terminate))

    def loops(
        self, on_health: Callable[[bool], Awaitable[None]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """The loops that run as long as the gateway does."""
        if self._has_tenants:
            yield self.fair.run()
        yield self.broker.listen()
        yield self._watchdog.run()
        yield self.workers.watch(self._methods)
        yield self._watchdog.health.run(on_health)
        if self._results is not None:
            yield self._results.listen()

    async def subscribed(self) -> None:
        """Returns when replies and results are being read, or after 5 s."""
        await self._watchdog.subscribed()

    def abort_remaining(self) -> None:
        """Ends the calls in flight with `Draining`."""
        for call in self._in_flight:
            # Clients retry if there is a RetryInfo: no task with effects may run twice.
            retry_after_s = RETRY_AFTER_S if call.method.may_run_again else None
            call.end(Draining("the gateway is shutting down", retry_after_s=retry_after_s))

    async def join(self) -> None:
        """Returns when the tasks of the calls that were aborted have been revoked, or after 2 s."""
        await self._background_tasks.join(_REVOKE_TIMEOUT_S)

    async def close(self) -> None:
        """Closes all connections."""
        if self._results is not None:
            await self._results.close()
        await self.broker.close()

    async def _turn(self, incoming: IncomingCall) -> _Turn | None:
        """The call's place in the queue of its tenant; None where there are no tenants."""
        tenant = incoming.permit.tenant
        if tenant is None:
            return None
        comes = asyncio.Event()
        queue, priority = incoming.method.route.queue, incoming.options.priority
        place = await self.fair.enter(tenant, queue, priority, comes.set, lambda: 1.0)
        return _Turn(place, comes)

    async def _wait_for(self, turn: _Turn, call: PlainCall) -> None:
        """Returns when the task may be sent; raises the error that ends the call before."""
        if turn.place.is_held:
            try:
                async with asyncio.timeout(call.max_silence_s):
                    await _either(turn.comes, call.changed)
            except TimeoutError:
                raise QueueWait("no worker was free for the call in time") from None
            self._raise_end(call)

    async def _go_on(self, call: PlainCall, turn: _Turn) -> None:
        """Keeps the place of a detached call whose RPC is over, until its task has ended.

        The gateway's shutdown ends the wait: then the task is sent at once.
        """
        try:
            if not call.sent:
                with contextlib.suppress(Draining):
                    await self._wait_for(turn, call)
                await self._send(call)
            while call.ending is None:
                call.changed.clear()
                await call.changed.wait()
        except ForebayError as error:
            with labelled(call):
                _log.warning("call %s: its task was not sent: %s", call.id, error.message)
        finally:
            self._in_flight.remove(call)
            self.fair.leave(turn.place)

    async def _send(self, call: PlainCall) -> None:
        """Sends the task once, as soon as its queue exists; raises the error that ends the call."""
        give_up_at = time.monotonic() + call.max_silence_s
        call.sent = True  # a send that fails or is cancelled may have reached the broker
        try:
            while not await self.broker.send(call.message):
                call.sent = False
                if time.monotonic() + _QUEUE_RETRY_DELAY_S > give_up_at:
                    raise NoWorkers(
                        "the method's queue does not exist: no worker has ever consumed it"
                    )
                await asyncio.sleep(_QUEUE_RETRY_DELAY_S)
                self._raise_end(call)
                call.sent = True
        except BackendUnavailable as error:
            if not call.method.may_run_again:
                error.retry_after_s = None
            raise
        call.last_news_at = time.monotonic()
        if not self.broker.can_withdraw:
            call.may_be_queued_until = call.last_news_at + (call.message.max_queue_s or 0)

    async def _response(self, call: PlainCall) -> Message:
        """The response of a unary method."""
        result = await self._result(call)
        try:
            (message,) = responses(result.value, call.method)
        except Unfit as error:
            self._raise_unfit(call, error)
        return message

    async def _items(self, call: PlainCall) -> AsyncIterator[Message]:
        """The responses of a streaming method: one for each custom state, then the result's."""
        while call.ending is None or call.progress:
            if not call.progress:
                call.changed.clear()
                await call.changed.wait()
            while call.progress:
                message = self._progress_response(call, call.progress.popleft())
                if message is not None:
                    yield message
        result = await self._result(call)
        try:
            for message in responses(result.value, call.method):
                yield message
        except Unfit as error:
            self._raise_unfit(call, error)

    def _progress_response(self, call: PlainCall, progress: Progress) -> Message | None:
        """The response of a custom state; None if the route has no field for it."""
        field = call.method.route.transient
        if not field:
            return None
        try:
            return response(progress.meta, call.method, field)
        except Unfit as error:
            _log.warning(
                "call %s of %s: the meta of a state does not fit `%s` and is skipped: %s",
                *(call.id, call.method.name, field, error),
            )
            return None

    async def _result(self, call: PlainCall) -> Result:
        """The task's result; raises the error that the call ended with."""
        while call.ending is None:
            call.changed.clear()
            await call.changed.wait()
        self._raise_end(call)
        assert isinstance(call.ending, Result)  # noqa: S101  # an error was raised
        return call.ending

    def _raise_end(self, call: PlainCall) -> None:
        if isinstance(call.ending, ForebayError):
            raise call.ending

    def _checked(self, message: Message) -> bytes:
        payload = message.SerializeToString()
        if len(payload) > self._settings.max_message_bytes:
            raise too_large(len(payload), self._settings.max_message_bytes)
        return payload

    def _raise_unfit(self, call: PlainCall, error: Unfit) -> NoReturn:
        name = call.method.response_class.DESCRIPTOR.full_name
        _log.warning(
            "call %s of %s: the result of %s does not fit %s: %s; fix the message, the route's "
            "`plain` or the task",
            *(call.id, call.method.name, call.method.route.task, name, error),
        )
        raise ResultUnfit(f"the task's result does not fit {name}: {error}") from error

    def _on_reply(self, reply: Reply) -> None:
        if self.workers.on_reply(reply):
            return
        if reply.ticket:
            self._watchdog.on_worker_reply(reply, self._settings.max_message_bytes)
        elif self._results is None:
            self._on_meta(
                reply.task_id.removesuffix(FOLLOWER_SUFFIX), reply.body, reply.content_type
            )

    def _on_meta(self, task_id: str, body: bytes, content_type: str) -> None:
        """Handles a new state of a task."""
        call = self._in_flight.on_news(task_id, time.monotonic())
        if call is None:
            _log.debug("a state of a task that is not in flight: %s", task_id)
            return
        with labelled(call):
            self._on_news(call, body, content_type)

    def _on_news(self, call: PlainCall, body: bytes, content_type: str) -> None:
        try:
            meta = read_meta(body, self._settings.max_message_bytes, content_type)
        except ForebayError as error:
            hint = _TOO_LARGE_HINT if isinstance(error, TooLarge) else ""
            _log.warning("call %s of %s: %s%s", call.id, call.method.name, error.message, hint)
            call.end(error)
            return
        self._apply(call, meta, len(body))

    def _apply(self, call: PlainCall, meta: dict[str, Any], size: int) -> None:
        match outcome(meta, call.method, self._settings.exceptions):
            case Result() as result:
                call.task_ended = True
                call.permit.hold(size)
                call.end(result)
            case Progress() as progress:
                call.add_progress(progress)
            case Failed(error, note):
                call.task_ended = True
                _log.warning(
                    "call %s of %s: task %s: %s",
                    *(call.id, call.method.name, call.method.route.task, note),
                )
                call.end(error)

    async def _revoke(self, call: PlainCall, *, terminate: bool) -> None:
        """Takes the task's message back or, if a worker may have it, revokes the task.

        Retries while the broker is unavailable: it may still have the message, whose caller may
        have made the call again.
        """
        give_up_at = time.monotonic() + _REVOKE_RETRY_S
        while True:
            try:
                if await self.broker.withdraw(call.message) is not Withdrawal.REMOVED:
                    await self.broker.broadcast(revoke(call.id, terminate=terminate))
                return
            except BackendUnavailable:
                if time.monotonic() > give_up_at:
                    break
            await asyncio.sleep(RECONNECT_DELAY_S)
        with labelled(call):
            _log.warning(
                "the %s is unavailable: the task %s could not be revoked", self._called, call.id
            )


async def _either(one: asyncio.Event, other: asyncio.Event) -> None:
    """Returns when one of the events is set."""
    waits = [asyncio.ensure_future(event.wait()) for event in (one, other)]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_all(waits)
