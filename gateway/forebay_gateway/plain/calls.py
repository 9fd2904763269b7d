"""Serves calls of plain Celery tasks: sends the task, waits for its result, returns the responses.

Each Celery application has its own `PlainCalls`, with its own connections, calls in flight and
health checks, so that an outage of one application does not affect the others.

The calls live in this gateway's memory; the ledger has no record of them. A call's id is its
task's id. The gateway always generates it, so that no caller can name another caller's task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from forebay.errors import (
    BackendUnavailable,
    DeadlineExceeded,
    Draining,
    ForebayError,
    NoWorkers,
    TooLarge,
)
from forebay.metadata import ATTACHED, CALL_ID
from forebay.routes import Method
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.ledger.reconnecting import RECONNECT_DELAY_S
from forebay_backends.settings import CeleryApplication, Settings
from forebay_backends.telemetry.call_labels import name_call
from forebay_gateway.admission.admission import RETRY_AFTER_S
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
from forebay_gateway.plain.mapping.result_meta import read_meta
from forebay_gateway.plain.queue_slots import QueueSlots
from forebay_gateway.plain.responses import all_responses, only_response
from forebay_gateway.plain.task_outcome import Failed, Progress, Result, outcome
from forebay_gateway.plain.task_request import task_of
from forebay_gateway.plain.turns import Turn, take_turn
from forebay_gateway.plain.watchdog import Watchdog
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.large_sends import LargeSends
from forebay_gateway.rpc.policy import queue_wait_s, run_time_s
from forebay_gateway.rpc.uuid7 import uuid7

_QUEUE_RETRY_DELAY_S = 0.5
_REVOKE_TIMEOUT_S = 2.0
_REVOKE_RETRY_S = 60.0
_TOO_LARGE_HINT = (
    "; FOREBAY_MAX_MESSAGE_BYTES is the limit on messages, and JSON may be four times as large"
)

_log = logging.getLogger(__name__)


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
        self._has_tenants = settings.auth.is_on or bool(settings.tenants)
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
        self.workers = PlainWorkers(
            self.broker, self._reply_queue, application, settings.max_message_bytes
        )
        self._watchdog = Watchdog(
            self._in_flight,
            self.broker,
            self._results,
            self.workers,
            self._reply_queue,
            application,
        )
        self._slots = QueueSlots(self.workers, self._methods)
        self.fair = FairQueues(settings.tenants, self._slots.total)

    def worker_slots(self, queue: str) -> dict[str, int] | None:
        """The live workers that can run a task of the queue, and their slots; None if unknown."""
        return self._slots.by_worker(queue)

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Sends the call's task and returns or streams its responses; raises a ForebayError."""
        if incoming.method.route.limits.run_time_s is not None:
            await self.workers.had_time_to_answer()
        call = self._call(incoming, context.principal.tenant)
        turn = await take_turn(self.fair, incoming)
        self._in_flight.add(call)
        try:
            async with asyncio.timeout(incoming.deadline.timeout_s()):
                if turn is not None:
                    await turn.wait(call)
                async with self._large_sends.turn(len(incoming.first or b"")):
                    await self._send(call)
                incoming.meter.accepted()
                if incoming.span is not None:
                    incoming.span.sent()
                await context.send_initial_metadata(((CALL_ID, call.id), (ATTACHED, "new")))
                return await self._answer(call, incoming, context)
        except TimeoutError:
            raise DeadlineExceeded("the call's deadline passed") from None
        finally:
            self._leave(call, turn, detach=incoming.options.detach)

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
            # Clients retry if there is a RetryInfo, and a task with effects must not run twice.
            retry_after_s = RETRY_AFTER_S if call.method.may_run_again else None
            call.end(Draining("the gateway is shutting down", retry_after_s=retry_after_s))

    async def join(self) -> None:
        """Returns when the tasks of the calls that were aborted have been revoked, or after 2 s."""
        await self._background_tasks.join(_REVOKE_TIMEOUT_S)

    async def close(self) -> None:
        if self._results is not None:
            await self._results.close()
        await self.broker.close()

    def _call(self, incoming: IncomingCall, tenant: str) -> PlainCall:
        method, limits = incoming.method, self._settings
        task_id = f"{self._prefix}{uuid7()}"
        name_call(task_id)
        message = task_of(
            incoming,
            task_id,
            self._reply_queue,
            limits,
            datetime.now(UTC),
            self.workers.limits_of(method.route.task),
            by_rpc=self._results is None,
            can_withdraw=self.broker.can_withdraw,
        )
        return PlainCall(
            task_id,
            method,
            message,
            incoming.permit,
            queue_wait_s(method, limits),
            run_time_s(method, limits) or inf,
            time.monotonic(),
            tenant=tenant,
        )

    async def _answer(
        self, call: PlainCall, incoming: IncomingCall, context: Context
    ) -> bytes | None:
        """Returns the response of a unary method, or writes the responses of a streaming one."""
        max_bytes = self._settings.max_message_bytes
        if not call.method.server_streaming:
            only = await only_response(call, max_bytes)
            incoming.meter.response(len(only))
            return only
        async for payload in all_responses(call, max_bytes):
            incoming.meter.item(len(payload))
            await context.write(payload)
        return None

    def _leave(self, call: PlainCall, turn: Turn | None, *, detach: bool) -> None:
        """Ends an RPC: revokes its task if that has not ended, unless the call is detached."""
        if turn is not None and detach and call.ending is None:
            self._background_tasks.start(self._go_on(call, turn))
        else:
            self._in_flight.remove(call)
            if turn is not None:
                self.fair.leave(turn)
        if call.sent and not call.task_ended and not (detach and call.refusal is None):
            plain = call.method.route.plain
            terminate = not (detach or (plain is not None and plain.let_finish))
            self._background_tasks.start(self._revoke(call, terminate=terminate))

    async def _go_on(self, call: PlainCall, turn: Turn) -> None:
        """Keeps a detached call's turn after its RPC is over, until its task has ended.

        If the gateway shuts down while the call waits for its turn, the task is sent at once.
        """
        try:
            if not call.sent:
                with contextlib.suppress(Draining):
                    await turn.wait(call)
                await self._send(call)
            while call.ending is None:
                await call.next_change()
        except ForebayError as error:
            with labelled(call):
                _log.warning("call %s: its task was not sent: %s", call.id, error.message)
        finally:
            self._in_flight.remove(call)
            self.fair.leave(turn)

    async def _send(self, call: PlainCall) -> None:
        """Sends the task once, as soon as its queue exists; raises the error that ends the call."""
        give_up_at = time.monotonic() + call.max_silence_s
        call.sent = True  # a send that fails or is cancelled may have reached the broker
        if not self.broker.can_withdraw and call.message.max_queue_s is not None:
            call.may_expire_at = time.monotonic() + call.message.max_queue_s
        try:
            while not await self.broker.send(call.message):
                call.sent = False
                if time.monotonic() + _QUEUE_RETRY_DELAY_S > give_up_at:
                    raise NoWorkers(
                        "the method's queue does not exist: no worker has ever consumed it"
                    )
                await asyncio.sleep(_QUEUE_RETRY_DELAY_S)
                call.raise_error()
                call.sent = True
        except BackendUnavailable as error:
            if not call.method.may_run_again:
                error.retry_after_s = None
            raise
        call.last_news_at = time.monotonic()
        if not self.broker.can_withdraw:
            call.may_be_queued_until = call.last_news_at + (call.message.max_queue_s or 0)

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

        Retries while the broker is unavailable: it may still have the message, and the caller may
        have repeated the call, so the task could run twice.
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
