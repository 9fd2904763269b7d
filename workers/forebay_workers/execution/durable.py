"""Runs attempts of durable calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from google.protobuf.message import Message

from forebay.checks import NoCheck
from forebay.errors import ItemsLost
from forebay.metadata import CALL_ID, to_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import TRANSITIONS, Event, State
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
from forebay_backends.ledger.operations.base import Operation, Refusal, Refused
from forebay_backends.ledger.outcome import outcome_of_error
from forebay_backends.ledger.seals import Seals
from forebay_backends.telemetry.call_labels import CallLabels, Labelled, about_call
from forebay_workers.celery_hooks.request import Attempt
from forebay_workers.handler.context import POLL_INTERVAL_S, CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.invoke import invoke
from forebay_workers.handler.ledger_retry import retry_while_unavailable
from forebay_workers.handler.operation_metadata import Metadata
from forebay_workers.handler.requests import live_requests, stored_requests
from forebay_workers.handler.version_check import checking_versions, mismatch
from forebay_workers.runtime.process import Runtime

_log = logging.getLogger(__name__)

T = TypeVar("T")

_LabelledEnd = tuple[Operation[Any], CallLabels]
"""The operation that ends a call, and the labels of its lines of the log."""


def run_calls(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    attempts: Sequence[Attempt],
    traceparents: Mapping[CallKey, str],
) -> None:
    """Runs the attempts one after the other: begins each, runs the handler, stores its outcome.

    One round trip ends an attempt and begins the next. `traceparents` are those of the message.
    """
    shares_task = len(attempts) > 1
    trace = runtime.task_trace(len(attempts))
    end: _LabelledEnd | None = None
    with runtime.control.reserved(attempts):
        for call, attempt in attempts:
            operation = begin(call, attempt, runtime.worker, runtime.control.channel)
            begun = _run_both(runtime, end, operation)
            traceparent = traceparents.get(call, "")
            with about_call(call.id, attempt, method.name, traceparent, call.owner) as labels:
                if isinstance(begun, Refused):
                    _log.info("call %s is not begun: %s", call, begun.why)
                    end = None
                    continue
                try:
                    begun = runtime.ledger.seals.begun(call, begun)
                except ItemsLost as error:
                    end = failed(runtime.ledger.seals, call, attempt, error), labels
                    continue
                metadata = to_pairs(call_pb2.Metadata.FromString(begun.metadata))
                context = _context(runtime, call, attempt, begun, metadata)
                context.trace(trace, method, labels)
                ending = _run_call(
                    runtime, method, handler, begun, context, shares_task=shares_task
                )
                end = None if ending is None else (ending, labels)
    if end is not None:
        reply = retry_while_unavailable(partial(runtime.ledger.run, end[0]))
        log_refused_end(*end, reply)


def failed(seals: Seals, call: CallKey, attempt: int, error: ItemsLost) -> Operation[Any]:
    """The operation that ends a call whose record was altered."""
    outcome = outcome_of_error(error).SerializeToString()
    sealed = seals.outcome(call, State.FAILED, 0, outcome)
    return finish(call, attempt, Event.FAIL, "", sealed)


def ended(
    seals: Seals,
    context: CallContext,
    outcome: call_pb2.Outcome,
    count: int,
    response: bytes | None,
) -> Operation[Refused | None]:
    """The operation that stores an attempt's outcome, and a unary method's response.

    `count` is the number of items that were stored before.
    """
    event = Event.FAIL if outcome.code else Event.SUCCEED
    if context.cancelled:
        event = Event.CANCEL
    items = count if response is None else 1
    sealed = seals.outcome(
        context.call, TRANSITIONS[State.RUNNING][event], items, outcome.SerializeToString()
    )
    return finish(context.call, context.attempt, event, "", sealed, response)


def _run_both(
    runtime: Runtime,
    end: _LabelledEnd | None,
    begin: Operation[Begun | Refused],
) -> Begun | Refused:
    """Ends a call, if `end` is given, and begins another; returns the latter's reply."""
    if end is None:
        return retry_while_unavailable(partial(runtime.ledger.run, begin))
    ended, begun = retry_while_unavailable(partial(runtime.ledger.run_all, [end[0], begin]))
    log_refused_end(*end, ended)
    reply: Begun | Refused = begun
    return reply


def log_refused_end(end: Operation[Any], labels: CallLabels, refused: object) -> None:
    """Logs, if the ledger refused `end`, that the call had ended before its handler."""
    if isinstance(refused, Refused):
        with Labelled(labels):
            _log.info("call %s ended before its handler: %s", end.arguments[0], refused.why)


def _context(
    runtime: Runtime,
    call: CallKey,
    attempt: int,
    begun: Begun,
    metadata: Sequence[tuple[str, str | bytes]],
) -> CallContext:
    return CallContext(
        call,
        attempt,
        metadata=((CALL_ID, call.id), *metadata),
        timeout_s=begun.timeout_s,
        flow=FlowControl(begun.window_bytes, begun.item_limit_bytes),
        send_initial=lambda metadata: _send_initial(runtime, call, attempt, metadata),
        caller=begun.caller,
    )


def _run_call(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    begun: Begun,
    context: CallContext,
    *,
    shares_task: bool,
) -> Operation[Any]:
    """Runs one attempt; returns the operation that ends it in the ledger."""
    call, attempt = context.call, context.attempt
    emitter = _Emitter(runtime, method, context)
    started = time.monotonic()
    with runtime.control.running(context, durable=True, shares_task=shares_task):
        outcome = _run_handler(runtime, method, handler, begun, context, emitter)
    runtime.ran(method.name, time.monotonic() - started)
    if outcome is None:
        _log.info("call %s was stopped: %s", call, context.stopped)
        # If the ledger lost data, the call has not ended: another worker can run it at once.
        return release(call, attempt, runtime.worker)
    return emitter.end(outcome)


def _run_handler(
    runtime: Runtime,
    method: Method,
    handler: Callable[..., Any],
    begun: Begun,
    context: CallContext,
    emitter: _Emitter,
) -> call_pb2.Outcome | None:
    """Returns the handler's outcome; None if the call has ended or will run again."""
    refusal = mismatch(method, begun.method, begun.fingerprint)
    if refusal is not None:
        _log.error("call %s is not run: %s", context.call, refusal.message)
        return outcome_of_error(refusal)
    check = runtime.checks.get(method.name, NoCheck)()
    outcome = invoke(
        method,
        handler,
        live_requests(runtime.ledger, context)
        if begun.live
        else stored_requests(runtime.ledger, context.call, begun),
        context,
        checking_versions(check, method, begun.fingerprint),
        emitter.emit,
        runtime.settings.max_message_bytes,
    )
    return outcome or outcome_of_lost_items(method, context)


def outcome_of_lost_items(method: Method, context: CallContext) -> call_pb2.Outcome | None:
    """The outcome of a call that was stopped because the ledger lost some of its items.

    None if it was stopped for another reason, or can be run again.
    """
    movable = method.may_run_again and method.route.deterministic
    if context.stopped != Refusal.GAP or movable:
        return None
    return outcome_of_error(
        ItemsLost("the ledger lost items of this call, which can't be run again")
    )


def _send_initial(runtime: Runtime, call: CallKey, attempt: int, metadata: bytes) -> None:
    sealed = runtime.ledger.seals.initial(call, metadata)
    runtime.ledger.run(send_initial_metadata(call, attempt, sealed))


class _Emitter:
    """Stores a handler's responses in the ledger, and blocks the handler for flow control."""

    def __init__(self, runtime: Runtime, method: Method, context: CallContext) -> None:
        self._ledger = runtime.ledger
        self._method = method
        self._context = context
        self._ordinal = 0
        self._response: bytes | None = None

    def emit(self, response: Message | Metadata, payload: bytes) -> None:
        """Stores and publishes an item; raises Stopped if the call has ended."""
        context, seals = self._context, self._ledger.seals
        if isinstance(response, Metadata) or self._method.is_transient(response):
            sealed = seals.transient(context.call, payload)
            write = report_metadata if isinstance(response, Metadata) else emit_transient
            self._checked(self._run(write(context.call, context.attempt, sealed)))
            return
        if not self._method.server_streaming:
            # The response is stored together with the outcome.
            self._response = seals.item(context.call, 0, payload)
            return
        sealed = seals.item(context.call, self._ordinal, payload)
        operation = emit(context.call, context.attempt, self._ordinal, sealed)
        self._ordinal += 1
        flow = self._checked(self._run(operation))
        with context.changed:
            context.flow.sent(len(sealed))
        if flow is not None:
            context.on_flow(flow)
        self._wait_for_window()

    def end(self, outcome: call_pb2.Outcome) -> Operation[Refused | None]:
        """Returns the operation that stores the attempt's outcome."""
        return ended(self._ledger.seals, self._context, outcome, self._ordinal, self._response)

    def _wait_for_window(self) -> None:
        context = self._context
        while True:
            with context.changed:
                if context.stopped is not None:
                    raise Stopped
                trimmable = context.flow.trimmable()
                if trimmable is None:
                    if not context.flow.blocked:
                        return
                    context.changed.wait(POLL_INTERVAL_S)
            if trimmable is not None:
                self._checked(self._run(trim(context.call, context.attempt, *trimmable)))
                with context.changed:
                    context.flow.trimmed(trimmable[1])
            elif context.flow.blocked:
                flow = self._checked(self._run(read_flow(context.call, context.attempt)))
                if flow is not None:
                    context.on_flow(flow)

    def _run(self, operation: Operation[T]) -> T:
        return retry_while_unavailable(partial(self._ledger.run, operation))

    def _checked(self, reply: Flow | Refused | None) -> Flow | None:
        if isinstance(reply, Refused):
            self._context.stop(reply.why)
        if self._context.stopped is not None:
            raise Stopped
        return reply if isinstance(reply, Flow) else None
