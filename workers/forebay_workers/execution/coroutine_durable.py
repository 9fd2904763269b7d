"""Runs attempts of durable calls whose handlers are coroutines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import Message

from forebay.checks import NoCheck
from forebay.errors import ItemsLost
from forebay.metadata import CALL_ID, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.attempts import (
    Begun,
    Flow,
    begin,
    emit,
    emit_transient,
    finish,
    read_flow,
    release,
    report_metadata,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Operation, Refused
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.telemetry.call_labels import CallLabels, about_call
from forebay_workers.celery_hooks.request import Attempt
from forebay_workers.coroutines.call import CoroutineCall
from forebay_workers.coroutines.event_loop import HandlerLoop, each
from forebay_workers.coroutines.handlers import CoroutineHandler
from forebay_workers.coroutines.invoke import invoke
from forebay_workers.coroutines.ledger import LoopLedger
from forebay_workers.coroutines.requests import CheckedRequests, requests_of
from forebay_workers.execution.durable import (
    ended,
    failed,
    log_refused_end,
    outcome_of_lost_items,
)
from forebay_workers.handler.context import POLL_INTERVAL_S
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.operation_metadata import Metadata
from forebay_workers.handler.version_check import checking_versions, mismatch
from forebay_workers.runtime.process import Runtime

_OVERDUE = "DEADLINE_EXCEEDED"

_log = logging.getLogger(__name__)


async def run_calls(
    runtime: Runtime,
    handler: CoroutineHandler,
    attempts: Sequence[Attempt],
    traceparents: Mapping[CallKey, str],
    *,
    together: bool,
) -> None:
    """Runs the attempts on the event loop: at the same time if `together`, else one by one.

    At most as many run at a time as the worker has slots. `traceparents` are those of the message.
    """
    run = _Task(runtime, handler, len(attempts), traceparents)
    with runtime.control.reserved(attempts):
        await each([partial(run.attempt, *attempt) for attempt in attempts], together=together)


class _Task:
    """The calls of one message."""

    def __init__(
        self,
        runtime: Runtime,
        handler: CoroutineHandler,
        size: int,
        traceparents: Mapping[CallKey, str],
    ) -> None:
        self._runtime = runtime
        self._handler = handler
        self._method = handler.method
        self._loop: HandlerLoop = runtime.loop
        self._ledger: LoopLedger = self._loop.ledger
        self._shares_task = size > 1
        self._trace = runtime.task_trace(size)
        self._traceparents = traceparents

    async def attempt(self, call: CallKey, attempt: int) -> None:
        """Begins the attempt, runs the handler, and stores its outcome."""
        runtime, method = self._runtime, self._method
        async with self._loop.permits:
            begun = await self._ledger.run(
                begin(call, attempt, runtime.worker, runtime.control.channel)
            )
            traceparent = self._traceparents.get(call, "")
            with about_call(call.id, attempt, method.name, traceparent, call.owner) as labels:
                if isinstance(begun, Refused):
                    _log.info("call %s is not begun: %s", call, begun.why)
                    return
                end = await self._run(call, attempt, begun, labels)
                log_refused_end(end, labels, await self._ledger.run(end))

    async def _run(
        self, call: CallKey, attempt: int, begun: Begun, labels: CallLabels
    ) -> Operation[Any]:
        """Runs one attempt; returns the operation that ends it in the ledger."""
        try:
            begun = self._ledger.seals.begun(call, begun)
        except ItemsLost as error:
            return failed(self._ledger.seals, call, attempt, error)
        context = self._context(call, attempt, begun)
        context.trace(self._trace, self._method, labels)
        self._loop.watch.label_current_task()
        emitter = Emitter(self._ledger, self._handler, context)
        started = time.monotonic()
        with self._runtime.control.running(context, durable=True, shares_task=self._shares_task):
            outcome = await self._outcome(begun, context, emitter)
        self._runtime.ran(self._method.name, time.monotonic() - started)
        if outcome is not None:
            return emitter.end(outcome)
        _log.info("call %s was stopped: %s", call, context.stopped)
        if context.is_expired:  # by this process's clock: the ledger need not have noticed
            return finish(call, attempt, Event.EXPIRE, _OVERDUE, b"")
        # If the ledger lost data, the call has not ended: another worker can run it at once.
        return release(call, attempt, self._runtime.worker)

    def _context(self, call: CallKey, attempt: int, begun: Begun) -> CoroutineCall:
        async def send_initial(metadata: bytes) -> None:
            sealed = self._ledger.seals.initial(call, metadata)
            await self._ledger.run(send_initial_metadata(call, attempt, sealed))

        metadata = to_pairs(call_pb2.Metadata.FromString(begun.metadata))
        return CoroutineCall(
            call,
            attempt,
            metadata=((CALL_ID, call.id), *metadata),
            timeout_s=begun.timeout_s,
            flow=FlowControl(begun.window_bytes, begun.item_limit_bytes),
            send_initial=send_initial,
            caller=begun.caller,
        )

    async def _outcome(
        self, begun: Begun, context: CoroutineCall, emitter: Emitter
    ) -> call_pb2.Outcome | None:
        method, runtime = self._method, self._runtime
        refusal = mismatch(method, begun.method, begun.fingerprint)
        if refusal is not None:
            _log.error("call %s is not run: %s", context.call, refusal.message)
            return outcome_of_error(refusal)
        check = runtime.checks.get(method.name, NoCheck)()
        requests = CheckedRequests(
            method,
            requests_of(self._ledger, context, begun),
            checking_versions(check, method, begun.fingerprint),
        )
        limit = runtime.settings.max_message_bytes
        outcome = await invoke(self._handler, requests, context, emitter.emit, limit)
        return outcome or outcome_of_lost_items(method, context)


class Emitter:
    """Stores a handler's responses in the ledger, and suspends the handler for flow control."""

    def __init__(
        self, ledger: LoopLedger, handler: CoroutineHandler, context: CoroutineCall
    ) -> None:
        self._ledger = ledger
        self._method = handler.method
        self._context = context
        self._ordinal = 0
        self._response: bytes | None = None
        self._in_order = asyncio.Lock()

    async def emit(self, response: Message | Metadata, payload: bytes) -> None:
        """Stores and publishes an item; raises Stopped if the call has ended."""
        context, seals = self._context, self._ledger.seals
        if isinstance(response, Metadata) or self._method.is_transient(response):
            sealed = seals.transient(context.call, payload)
            write = report_metadata if isinstance(response, Metadata) else emit_transient
            await self._run(write(context.call, context.attempt, sealed))
            return
        if not self._method.server_streaming:
            # It is stored together with the outcome.
            self._response = seals.item(context.call, 0, payload)
            return
        # A handler whose write is cancelled, as by `asyncio.wait_for`, leaves no gap.
        await asyncio.shield(self._store(payload))
        await self._wait_for_window()

    async def _store(self, payload: bytes) -> None:
        context = self._context
        async with self._in_order:
            sealed = self._ledger.seals.item(context.call, self._ordinal, payload)
            operation = emit(context.call, context.attempt, self._ordinal, sealed)
            self._ordinal += 1
            flow = await self._run(operation)
            with context.changed:  # credit comes in another thread
                context.flow.sent(len(sealed))
            if flow is not None:
                context.on_flow(flow)

    def end(self, outcome: call_pb2.Outcome) -> Operation[Refused | None]:
        """Returns the operation that stores the attempt's outcome."""
        seals = self._ledger.seals
        return ended(seals, self._context, outcome, self._ordinal, self._response)

    async def _wait_for_window(self) -> None:
        context = self._context
        while True:
            if context.stopped is not None:
                raise Stopped
            with context.changed:
                trimmable, is_blocked = context.flow.trimmable(), context.flow.blocked
            if trimmable is not None:
                await self._run(trim(context.call, context.attempt, *trimmable))
                with context.changed:
                    context.flow.trimmed(trimmable[1])
                continue
            if not is_blocked:
                return
            await context.wait_for_change(POLL_INTERVAL_S)
            if context.flow.blocked:
                flow = await self._run(read_flow(context.call, context.attempt))
                if flow is not None:
                    context.on_flow(flow)

    async def _run(self, operation: Operation[Any]) -> Flow | None:
        reply = await self._ledger.run(operation)
        if isinstance(reply, Refused):
            self._context.stop(reply.why)
        if self._context.stopped is not None:
            raise Stopped
        return reply if isinstance(reply, Flow) else None
