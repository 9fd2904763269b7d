"""Writes the records of durable calls; also sends their messages if the ledger is the broker.

In that case, one script writes the record and pushes the message. Small unary calls of a method
with `max_batch` over 1 are then batched, as ephemeral calls are: one message names all calls of
the batch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forebay.routes import Method
from forebay_backends.aio.background_tasks import BackgroundTasks
from forebay_backends.broker.base import Broker, ledger_push
from forebay_backends.broker.task_messages import TaskMessage, call_message, calls_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Operation, Push, Refused
from forebay_backends.ledger.operations.cache import Joined, accept_cached
from forebay_backends.ledger.operations.calls import ExistingCall, NewCall, accept
from forebay_backends.ledger.operations.held import send_held
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_gateway.metrics.gateway_metrics import GatewayMetrics
from forebay_gateway.rpc.batching import Batcher, BatchQueue
from forebay_gateway.rpc.cache_key import CacheKey
from forebay_gateway.rpc.uuid7 import uuid7

_SMALL_BYTES = 64 * 1024
"""Larger requests get their own round trip: in a shared one, they would delay small requests."""


@dataclass(eq=False)
class _Accept:
    """A call that waits to be accepted in a batch, or, if it is `held`, to be sent in one."""

    call: CallKey
    new: NewCall
    begun_at: float
    reply: asyncio.Future[Any]
    held: bool = False

    def operation(self, channel: str, *, piggybacked: bool) -> Operation[Any]:
        """The operation that accepts the call or, if it is `held`, sends it."""
        if self.held:
            return send_held(self.call, Push(), piggybacked=piggybacked)
        return accept(self.call, self.new, channel, Push(), piggybacked=piggybacked)

    @property
    def owner(self) -> str:
        return self.call.owner


@dataclass(eq=False)
class _Batch:
    """The calls of one message that have not ended."""

    calls: set[CallKey] = field(default_factory=set)


class Acceptor:
    """Accepts durable calls. One instance per gateway."""

    def __init__(
        self,
        ledger: Ledger,
        pipeliner: Pipeliner,
        broker: Broker,
        channel: str,
        slots: Callable[[str], int],
        metrics: GatewayMetrics,
    ) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._pipeliner = pipeliner
        self._broker = broker
        self._channel = channel
        self._batcher = Batcher(slots, self._start_batch)
        self._in_flight: dict[CallKey, tuple[BatchQueue[_Accept], _Batch]] = {}
        self._background_tasks = BackgroundTasks()

    async def accept(
        self,
        call: CallKey,
        method: Method,
        new: NewCall,
        *,
        held: bool = False,
        cache_key: CacheKey | None = None,
    ) -> Joined | ExistingCall | None:
        """Writes the record; returns `ExistingCall` if a call has the id already.

        If the broker is the ledger, also pushes the call's message, unless the call still waits for
        requests or its start, or its message is to be `held` back. The gateway watches the call,
        unless it is an operation. With a cache key, the call joins the run with that key, if there
        is one, and this returns `Joined`. Raises BackendUnavailable.
        """
        if not held and new.is_queued_at_once and self.batches(method, new):
            existing: ExistingCall | None = await self._in_batch(_waiting(call, new), method)
            return existing
        has_push = not held and new.is_queued_at_once
        push = ledger_push(self._broker, _message(call, new)) if has_push else Push()
        run = self._pipeliner.run if _is_small(new) else self._ledger.run
        channel = self._channel if method.operation is None else ""
        if cache_key is None:
            return await run(accept(call, new, channel, push, held=held))
        proof = self._ledger.seals.cache_entry(call, new.cache)
        options = {"renews": cache_key.renews, "held": held}
        return await run(accept_cached(call, new, channel, push, proof=proof, **options))

    def batches(self, method: Method, new: NewCall) -> bool:
        """Whether the call may share its message with others."""
        return _is_small(new) and self._broker.is_ledger and method.route.max_batch > 1

    def batch_size(self, method: Method, new: NewCall) -> int:
        """The most calls like this one that a message names."""
        if not self.batches(method, new):
            return 1
        return self._batcher.queue_of(method, new.priority).size_limit

    async def send_in_batch(self, call: CallKey, method: Method, new: NewCall) -> Refused | None:
        """Sends the message of a call that was held back; returns `Refused` as `send_held` does.

        Raises BackendUnavailable.
        """
        refused: Refused | None = await self._in_batch(_waiting(call, new, held=True), method)
        return refused

    def on_ended(self, call: CallKey, ending: Ending | None) -> None:
        """Removes the call from its batch; `ending` is None if how it ended is not known."""
        queue, batch = self._in_flight.pop(call, (None, None))
        if queue is None or batch is None:
            return
        if ending is not None:
            queue.record_run_time(ending.run_ms / 1000)
        batch.calls.discard(call)
        if not batch.calls:
            self._batcher.on_batch_done(queue, batch)

    async def _in_batch(self, waiting: _Accept, method: Method) -> Any:
        self._batcher.submit(self._batcher.queue_of(method, waiting.new.priority), waiting)
        return await waiting.reply

    def _start_batch(self, queue: BatchQueue[_Accept], calls: list[_Accept]) -> None:
        self._metrics.method(calls[0].new.method).batch_size(len(calls))
        batch = _Batch({one.call for one in calls})
        queue.on_batch_sent(batch)
        for one in calls:
            self.on_ended(one.call, None)  # if two callers use one id, the later call counts
            self._in_flight[one.call] = queue, batch
        self._background_tasks.start(self._run_batch(calls))

    async def _run_batch(self, calls: list[_Accept]) -> None:
        first = calls[0]
        operations = [one.operation(self._channel, piggybacked=one is not first) for one in calls]
        push = ledger_push(self._broker, _batch_message(calls))
        try:
            results = await self._ledger.run_with_push(operations, push)
        except Exception as error:
            results = [error for _ in calls]
        for one, result in zip(calls, results, strict=True):
            if isinstance(result, Exception):
                self.on_ended(one.call, None)
                if not one.reply.done():
                    one.reply.set_exception(result)
            elif not one.reply.done():
                one.reply.set_result(result)


def _waiting(call: CallKey, new: NewCall, *, held: bool = False) -> _Accept:
    return _Accept(call, new, time.monotonic(), asyncio.get_running_loop().create_future(), held)


def _is_small(new: NewCall) -> bool:
    return len(new.request) <= _SMALL_BYTES


def _message(call: CallKey, new: NewCall) -> TaskMessage:
    return call_message(
        call,
        1,
        task=new.task,
        queue=new.queue,
        priority=new.priority,
        traceparent=new.traceparent,
    )


def _batch_message(calls: list[_Accept]) -> TaskMessage:
    if len(calls) == 1:
        return _message(calls[0].call, calls[0].new)
    new, keys = calls[0].new, [one.call for one in calls]
    task_id = CallKey(uuid7(), calls[0].owner).task_id
    return calls_message(
        task_id,
        keys,
        task=new.task,
        queue=new.queue,
        priority=new.priority,
        traceparents=[one.new.traceparent for one in calls],
    )
