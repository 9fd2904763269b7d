"""Calls of plain Celery tasks, served: sent, waited for, answered, and given up.

They live in this gateway's memory and keep no record. Their ids, which are their tasks' ids,
are always made here: one id is one task, which nobody else can name.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
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
    ResultUnfit,
    TooLarge,
)
from forebay.metadata import ATTACHED, CALL_ID
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.settings import RPC, Settings
from forebay_backends.urls import redis_url
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.plain.brokers.amqp import AmqpBroker
from forebay_gateway.plain.brokers.base import Broker
from forebay_gateway.plain.brokers.celery_messages import (
    FOLLOWER,
    JSON,
    PlainMessage,
    Reply,
    revoke,
)
from forebay_gateway.plain.brokers.redis import RedisBroker
from forebay_gateway.plain.brokers.redis_results import RedisResults
from forebay_gateway.plain.in_flight import InFlight, PlainCall
from forebay_gateway.plain.mapping.result_meta import read_meta, too_large
from forebay_gateway.plain.mapping.results import response, responses
from forebay_gateway.plain.mapping.scalars import Unfit
from forebay_gateway.plain.task_outcome import Failed, Progress, Result, outcome
from forebay_gateway.plain.task_request import task_of
from forebay_gateway.plain.watchdog import Watchdog
from forebay_gateway.rpc.incoming import Context, IncomingCall
from forebay_gateway.rpc.policy import queue_wait_s, run_time_s
from forebay_gateway.rpc.uuid7 import uuid7

_QUEUE_AGAIN_S = 0.5
_SETTLE_S = 2.0
_FIX = "; FOREBAY_MAX_MESSAGE_BYTES is the limit on messages, and JSON may be four times as large"

_log = logging.getLogger(__name__)


class PlainCalls:
    """Serves calls of plain tasks. One object a gateway."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._prefix = f"{os.urandom(4).hex()}-"
        self._in_flight = InFlight()
        self._background_tasks = BackgroundTasks()
        self._reply_queue = f"forebay.reply.{self._prefix}{uuid7()}"
        self.broker = self._connected()
        self._results = self._stored_results()
        self._looking = Watchdog(self._in_flight, self.broker, self._results, self._reply_queue)

    async def serve(self, incoming: IncomingCall, context: Context) -> bytes | None:
        """Sends the call's task and answers with what becomes of it; raises a ForebayError."""
        method, limits = incoming.method, self._settings
        task_id = f"{self._prefix}{uuid7()}"
        message = task_of(incoming, task_id, self._reply_queue, limits, datetime.now(UTC))
        call = PlainCall(
            task_id,
            method,
            incoming.permit,
            queue_wait_s(method, limits),
            run_time_s(method, limits) or inf,
            time.monotonic(),
        )
        self._in_flight.add(call)
        try:
            async with asyncio.timeout(incoming.deadline.timeout_s()):
                await self._send(call, message)
                await context.send_initial_metadata(((CALL_ID, call.id), (ATTACHED, "new")))
                if not method.server_streaming:
                    return self._checked(await self._response(call))
                async for item in self._items(call):
                    await context.write(self._checked(item))
                return None
        except TimeoutError:
            raise DeadlineExceeded("the call's deadline passed") from None
        finally:
            self._in_flight.remove(call)
            if call.sent and not call.is_over and not incoming.options.detach:
                self._background_tasks.start(self._stop(call))

    def loops(
        self, on_health: Callable[[bool], Awaitable[None]]
    ) -> Iterator[Coroutine[Any, Any, None]]:
        """What goes on as long as the gateway does."""
        yield self.broker.listen()
        yield self._looking.look_after()
        yield self._looking.watch_over(on_health)
        if self._results is not None:
            yield self._results.listen()

    async def subscribed(self) -> None:
        """Returns when replies and results are heard, or after a while without."""
        await self._looking.subscribed()

    def cut(self) -> None:
        """Ends what still waits with `Draining`."""
        for call in self._in_flight:
            # What had effects must not be repeated by whoever heeds a RetryInfo.
            again_s = RETRY_AFTER_S if call.method.may_run_again else None
            call.ended(Draining("the gateway is shutting down", retry_after_s=again_s))

    async def join(self) -> None:
        """Returns when the workers were told of the calls that were cut."""
        await self._background_tasks.join(_SETTLE_S)

    async def close(self) -> None:
        """Closes all connections."""
        if self._results is not None:
            await self._results.close()
        await self.broker.close()

    def _connected(self) -> Broker:
        backends = self._settings.backends()
        if backends.broker_is_redis:
            url = redis_url(backends.broker_url)
            return RedisBroker(url, self._reply_queue, self._on_reply)
        return AmqpBroker(backends.broker_url, self._reply_queue, self._on_reply)

    def _stored_results(self) -> RedisResults | None:
        if self._settings.result_url == RPC:
            return None
        url, waiting = self._settings.result_url, self._in_flight
        return RedisResults(url, self._prefix, self._on_meta, lambda: [call.id for call in waiting])

    async def _send(self, call: PlainCall, message: PlainMessage) -> None:
        """Sends the task once, when its queue is there; raises what ends the call."""
        give_up = time.monotonic() + call.patience_s
        call.sent = True  # or may have been, should this be left or fail
        try:
            while not await self.broker.send(message):
                call.sent = False
                if time.monotonic() + _QUEUE_AGAIN_S > give_up:
                    raise NoWorkers("the method's queue does not exist: no worker was ever there")
                await asyncio.sleep(_QUEUE_AGAIN_S)
                self._raise_end(call)
                call.sent = True
        except BackendUnavailable as error:
            if not call.method.may_run_again:
                error.retry_after_s = None
            raise
        call.heard_at = time.monotonic()

    async def _response(self, call: PlainCall) -> Message:
        """The one response of a unary method."""
        result = await self._end(call)
        try:
            (message,) = responses(result.value, call.method)
        except Unfit as error:
            self._unfit(call, error)
        return message

    async def _items(self, call: PlainCall) -> AsyncIterator[Message]:
        """The responses of a streaming method: states on the way, then what the result is."""
        while call.end is None or call.progress:
            if not call.progress:
                call.bell.clear()
                await call.bell.wait()
            while call.progress:
                message = self._progress(call, call.progress.popleft())
                if message is not None:
                    yield message
        result = await self._end(call)
        try:
            for message in responses(result.value, call.method):
                yield message
        except Unfit as error:
            self._unfit(call, error)

    def _progress(self, call: PlainCall, progress: Progress) -> Message | None:
        """The response of a state on the way; None where the route has no place for it."""
        field = call.method.route.transient
        if not field:
            return None
        try:
            return response(progress.meta, call.method, field)
        except Unfit as error:
            _log.warning(
                "call %s of %s: a state's meta does not fit `%s` and is passed over: %s",
                *(call.id, call.method.name, field, error),
            )
            return None

    async def _end(self, call: PlainCall) -> Result:
        """The task's result; raises what else the call ended with."""
        while call.end is None:
            call.bell.clear()
            await call.bell.wait()
        self._raise_end(call)
        assert isinstance(call.end, Result)  # noqa: S101  # the other end was raised
        return call.end

    def _raise_end(self, call: PlainCall) -> None:
        if isinstance(call.end, ForebayError):
            raise call.end

    def _checked(self, message: Message) -> bytes:
        payload = message.SerializeToString()
        if len(payload) > self._settings.max_message_bytes:
            raise too_large(len(payload), self._settings.max_message_bytes)
        return payload

    def _unfit(self, call: PlainCall, error: Unfit) -> NoReturn:
        name = call.method.response_class.DESCRIPTOR.full_name
        _log.warning(
            "call %s of %s: the result of %s does not fit %s: %s; mend the message, the route's "
            "`plain` or the task",
            *(call.id, call.method.name, call.method.route.task, name, error),
        )
        raise ResultUnfit(f"the task's result does not fit {name}: {error}") from error

    def _on_reply(self, reply: Reply) -> None:
        if reply.ticket:
            self._looking.on_answer(reply, self._settings.max_message_bytes)
        elif self._results is None:
            self._on_meta(reply.task_id.removesuffix(FOLLOWER), reply.body, reply.content_type)

    def _on_meta(self, task_id: str, body: bytes, content_type: str = JSON) -> None:
        """A state of a task has come."""
        call = self._in_flight.heard(task_id, time.monotonic())
        if call is None:
            _log.debug("a state of a task that nobody waits for: %s", task_id)
            return
        try:
            meta = read_meta(body, self._settings.max_message_bytes, content_type)
        except ForebayError as error:
            mend = _FIX if isinstance(error, TooLarge) else ""
            _log.warning("call %s of %s: %s%s", call.id, call.method.name, error.message, mend)
            call.ended(error)
            return
        self._take(call, meta, len(body))

    def _take(self, call: PlainCall, meta: dict[str, Any], size: int) -> None:
        match outcome(meta, call.method, self._settings.exceptions):
            case Result() as result:
                call.is_over = True
                call.permit.hold(size)
                call.ended(result)
            case Progress() as progress:
                call.progressed(progress)
            case Failed(error, note):
                call.is_over = True
                _log.warning(
                    "call %s of %s: task %s: %s",
                    *(call.id, call.method.name, call.method.route.task, note),
                )
                call.ended(error)

    async def _stop(self, call: PlainCall) -> None:
        """Has the task never begin and, where the route does not let it finish, end."""
        plain = call.method.route.plain
        terminate = plain is None or not plain.let_finish
        try:
            await self.broker.broadcast(revoke(call.id, terminate=terminate))
        except BackendUnavailable:
            _log.warning("the broker is away: the task %s could not be revoked", call.id)
