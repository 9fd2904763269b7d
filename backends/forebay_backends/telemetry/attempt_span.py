"""The span that a worker makes for an attempt at a call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    TraceState,
)

from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.sampling import NOTHING
from forebay_backends.telemetry.span_fields import (
    ATTEMPT,
    CALL_ID,
    LINK,
    STATUS_CODE,
    STOPPED,
    TENANT,
    add_item,
    end_span,
)
from forebay_backends.telemetry.span_maker import SpanMaker
from forebay_backends.telemetry.span_shapes import Attributes, Shape, consumer_shape
from forebay_backends.telemetry.trace_context import (
    Pairs,
    ParentContext,
    TraceContext,
    is_valid,
    remote_context,
)

T = TypeVar("T")

(_SPAN,) = trace.set_span_in_context(NonRecordingSpan(INVALID_SPAN_CONTEXT), NOTHING)
"""The key of the current span in a context. `set_span_in_context` copies the context twice."""

_CODES = {code.value[0]: code.name for code in grpc.StatusCode}


class TaskTrace:
    """The attempts of one Celery task, which are the members of a batch if there are several."""

    def __init__(self, attempts: Attempts, size: int) -> None:
        self._attempts = attempts
        self._size = size
        self._batch_links: tuple[Link, ...] = ()
        """To the first attempt of a batch, from the others."""

    def unsampled(self, traceparent: str) -> AttemptSpan:
        """An attempt at a call whose trace, which is not sampled, has this context."""
        return UnsampledAttempt(traceparent)

    def attempt(
        self,
        method: str,
        queue: str,
        call_id: str,
        attempt: int,
        metadata: Pairs,
        tenant: str = "",
        sampled: str = "",
    ) -> AttemptSpan:
        """Starts the CONSUMER span of an attempt, below the PRODUCER span in the metadata.

        `sampled` is the PRODUCER span's context if that is not in the metadata: it is sampled then.
        """
        producer = TraceContext(sampled) if sampled else remote_context(metadata)
        if not sampled and producer is not None and not producer.is_sampled:
            return UnsampledAttempt(producer.traceparent, producer.state)
        links, is_rerun = self._batch_links, False
        if producer is not None and attempt > 1:
            links = (Link(producer.span_context, {LINK: "call"}), *links)
            producer, is_rerun = None, True
        attributes: dict[str, str | int] = {CALL_ID: call_id, ATTEMPT: attempt}
        if tenant:
            attributes[TENANT] = tenant
        if self._size > 1:
            attributes["messaging.batch.message_count"] = self._size
        shape = consumer_shape(queue, method)
        span = self._attempts.start(shape, producer, attributes, links, is_sampled=is_rerun)
        if self._size > 1 and not self._batch_links:
            self._batch_links = (Link(span.span_context, {LINK: "batch"}),)
        return span


class AttemptSpan:
    """The trace of one attempt that is not sampled: its context, for the handler's own spans."""

    is_sampled = False

    def __init__(self, span: Span, traceparent: str) -> None:
        self._span = span
        self.traceparent = traceparent

    @property
    def current_span(self) -> Span:
        """The span that is current while the handler runs."""
        return self._span

    @property
    def span_context(self) -> SpanContext:
        """As OpenTelemetry has it."""
        return self.current_span.get_span_context()

    def run(self, run: Callable[[], T]) -> T:
        """Calls `run` with the span as the current one, in a context of its own."""
        otel_context.attach(Context({_SPAN: self.current_span}))
        return run()

    def on_item(self) -> None:
        """The handler returned or yielded an item."""

    def failed(self, error: BaseException) -> None:
        """Records only the type of the handler's error: its text, in the log, may be secret."""

    def on_end(self, code: int | None, stopped: str | None = None) -> None:
        """Ends the span; `code` is None for an attempt that ended without an outcome."""


class UnsampledAttempt(NonRecordingSpan, AttemptSpan):
    """The trace of an attempt at an unsampled call, and its span, in one object.

    The context is text, which is parsed when it is asked for.
    """

    def __init__(self, traceparent: str, state: TraceState | None = None) -> None:
        self.traceparent = traceparent
        self._state = state

    @property
    def current_span(self) -> Span:
        return self

    def get_span_context(self) -> SpanContext:
        if not is_valid(self.traceparent):
            return INVALID_SPAN_CONTEXT
        return TraceContext(self.traceparent, self._state).span_context


class SampledAttempt(AttemptSpan):
    """The CONSUMER span of one attempt."""

    is_sampled = True
    _items: ItemEvents | None = None

    def on_item(self) -> None:
        self._items = add_item(self.current_span, self._items)

    def failed(self, error: BaseException) -> None:
        kind = type(error)
        self.current_span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")

    def on_end(self, code: int | None, stopped: str | None = None) -> None:
        name = "" if code is None else _CODES.get(code, "UNKNOWN")
        attributes = {STATUS_CODE: name} if code else {}
        if stopped is not None:
            attributes[STOPPED] = stopped
        end_span(self.current_span, self._items, name, attributes)


class Attempts:
    """Starts the spans of attempts."""

    def __init__(self, spans: SpanMaker) -> None:
        self._spans = spans

    def start(
        self,
        shape: Shape,
        parent: ParentContext | None,
        attributes: Attributes,
        links: Sequence[Link],
        *,
        is_sampled: bool,
    ) -> AttemptSpan:
        """Starts the CONSUMER span of an attempt; the arguments are those for a `SpanMaker`."""
        span = self._spans.start(shape, parent, attributes, links, is_sampled=is_sampled)
        kind = SampledAttempt if span.is_recording() else AttemptSpan
        return kind(span, self._spans.context(span).traceparent)
