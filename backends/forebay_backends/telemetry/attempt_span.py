"""The span that a worker makes for an attempt at a call."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
)

from forebay.metadata import TRACEPARENT
from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.sampling import NOTHING, sampled
from forebay_backends.telemetry.span_fields import (
    ATTEMPT,
    CALL_ID,
    LINK,
    STATUS_CODE,
    STOPPED,
    TENANT,
    add_item,
    end_span,
    messaging_attributes,
    server_attributes,
)
from forebay_backends.telemetry.trace_context import (
    Pairs,
    UnsampledSpan,
    remote_context,
    traceparent,
    unsampled,
)

T = TypeVar("T")

(_SPAN,) = trace.set_span_in_context(NonRecordingSpan(INVALID_SPAN_CONTEXT), NOTHING)
"""The key of the current span in a context. `set_span_in_context` copies the context twice."""

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class TaskTrace:
    """The attempts of one Celery task, which are the members of a batch if there are several."""

    def __init__(self, tracer: trace.Tracer, size: int) -> None:
        self._tracer = tracer
        self._size = size
        self._first: SpanContext | None = None

    def unsampled(self, traceparent: str) -> AttemptSpan:
        """An attempt at a call whose trace, which is not sampled, has this context."""
        return AttemptSpan(UnsampledSpan([(TRACEPARENT, traceparent)]), traceparent)

    def attempt(
        self,
        method: str,
        queue: str,
        call_id: str,
        attempt: int,
        metadata: Pairs,
        tenant: str = "",
    ) -> AttemptSpan:
        """Starts the CONSUMER span of an attempt, below the PRODUCER span in the metadata."""
        if text := unsampled(metadata):
            return AttemptSpan(UnsampledSpan(metadata), text)
        producer = remote_context(metadata)
        context, links = NOTHING, []
        if producer is not None and attempt == 1:
            context = trace.set_span_in_context(NonRecordingSpan(producer), context)
        elif producer is not None:
            context = sampled(context)
            links.append(Link(producer, {LINK: "call"}))
        if self._first is not None:
            links.append(Link(self._first, {LINK: "batch"}))
        span = self._tracer.start_span(
            f"process {queue}",
            context,
            SpanKind.CONSUMER,
            {
                **messaging_attributes(queue),
                "rpc.method": server_attributes(method)["rpc.method"],
                CALL_ID: call_id,
                ATTEMPT: attempt,
                **({TENANT: tenant} if tenant else {}),
                **({"messaging.batch.message_count": self._size} if self._size > 1 else {}),
            },
            links,
            record_exception=False,
        )
        if self._first is None and self._size > 1:
            self._first = span.get_span_context()
        kind = _SampledAttempt if span.is_recording() else AttemptSpan
        return kind(span, traceparent(span.get_span_context()))


class AttemptSpan:
    """The trace of one attempt that is not sampled: its context, for the handler's own spans."""

    is_recording = False

    def __init__(self, span: Span, traceparent: str) -> None:
        self._span = span
        self.traceparent = traceparent

    def run(self, run: Callable[[], T]) -> T:
        """Calls `run` with the span as the current one, in a context of its own."""
        otel_context.attach(Context({_SPAN: self._span}))
        return run()

    def on_item(self) -> None:
        """The handler returned or yielded an item."""

    def failed(self, error: BaseException) -> None:
        """Records only the type of the handler's error: its text, in the log, may be secret."""

    def end(self, code: int | None, stopped: str | None = None) -> None:
        """Ends the span; `code` is None for an attempt that ended without an outcome."""


class _SampledAttempt(AttemptSpan):
    """The CONSUMER span of one attempt."""

    is_recording = True

    def __init__(self, span: Span, traceparent: str) -> None:
        super().__init__(span, traceparent)
        self._items = ItemEvents()

    def on_item(self) -> None:
        add_item(self._span, self._items)

    def failed(self, error: BaseException) -> None:
        kind = type(error)
        self._span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")

    def end(self, code: int | None, stopped: str | None = None) -> None:
        name = "" if code is None else _CODES.get(code, "UNKNOWN")
        attributes = {STATUS_CODE: name} if code else {}
        if stopped is not None:
            attributes[STOPPED] = stopped
        end_span(self._span, self._items, name, attributes)
