"""The spans that a gateway makes for an RPC."""

from __future__ import annotations

from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Span, SpanContext

from forebay.metadata import TRACEPARENT
from forebay.v1 import call_pb2
from forebay_backends.telemetry.call_labels import OWN_TRACE, name_trace
from forebay_backends.telemetry.ending_span import finish
from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.span_fields import (
    CALL_ID,
    LINK,
    STATUS_CODE,
    TENANT,
    add_item,
    end_span,
)
from forebay_backends.telemetry.span_maker import SpanMaker
from forebay_backends.telemetry.span_shapes import producer_shape, server_shape
from forebay_backends.telemetry.trace_context import (
    ParentContext,
    TraceContext,
    add_context,
    own_context,
    remote_context,
)


class RpcSpan:
    """The trace of one RPC that is not sampled: only its context, which goes to the worker."""

    is_recording = False

    def __init__(self, context: ParentContext) -> None:
        self._context = context
        self.traceparent = context.traceparent

    def publish(self, queue: str, metadata: call_pb2.Metadata) -> None:
        """Puts the trace context into the metadata for the worker."""
        add_context(metadata, self.traceparent, self._context.state)

    def publish_member(self, queue: str, member: call_pb2.BatchMember) -> None:
        """Puts the trace context into the message of an ephemeral call."""
        self.publish(queue, member.metadata)

    def sent(self) -> None:
        """The call was accepted and its message sent."""

    def attached(self, call: str) -> None:
        """The RPC attached to a call that was accepted before; `call` is its trace context."""

    def on_response(self) -> None:
        """A response was sent."""

    def end(self, call_id: str, code: str, tenant: str = "") -> None:
        """The RPC ended with a status."""


class UnsampledRoot(RpcSpan):
    """The traces that begin with an RPC and are not sampled; one object for all of them.

    The message of an ephemeral call only says that its trace is one of these: the trace has the
    call's id. Another call's id may be its caller's, so its trace gets an id here.
    """

    def __init__(self, ids: IdGenerator) -> None:
        super().__init__(TraceContext(""))
        self._ids = ids

    def publish(self, queue: str, metadata: call_pb2.Metadata) -> None:
        trace_id, span_id = self._ids.generate_trace_id(), self._ids.generate_span_id()
        context = own_context(trace_id, span_id, is_sampled=False)
        name_trace(context.traceparent)
        add_context(metadata, context.traceparent, context.state)

    def publish_member(self, queue: str, member: call_pb2.BatchMember) -> None:
        member.begins_unsampled_trace = True
        name_trace(OWN_TRACE)


class SampledRpc(RpcSpan):
    """The SERVER span of one RPC, and the PRODUCER span of the call that it makes."""

    is_recording = True

    def __init__(self, spans: SpanMaker, span: Span) -> None:
        super().__init__(spans.context(span))
        self._spans = spans
        self._span = span
        self._producer: Span | None = None
        self._items: ItemEvents | None = None

    def publish(self, queue: str, metadata: call_pb2.Metadata) -> None:
        """Starts the PRODUCER span, whose context goes to the worker."""
        self._producer = self._spans.start(producer_shape(queue), self._context, {})
        context = self._spans.context(self._producer)
        add_context(metadata, context.traceparent, context.state)

    def sent(self) -> None:
        if self._producer is not None:
            finish(self._producer, {}, failed=False)
            self._producer = None

    def attached(self, call: str) -> None:
        self._producer = None  # not ended, so not exported: nothing was sent
        linked = sampled_call(call)
        if linked is not None:
            self._span.add_link(linked, {LINK: "call"})

    def on_response(self) -> None:
        self._items = add_item(self._span, self._items)

    def end(self, call_id: str, code: str, tenant: str = "") -> None:
        if self._producer is not None:
            finish(self._producer, {}, failed=True)
        end_span(self._span, self._items, code, end_attributes(call_id, code, tenant))


def sampled_call(traceparent: str) -> SpanContext | None:
    """The context of a call that an RPC attaches to; None if its trace is not sampled."""
    context = remote_context([(TRACEPARENT, traceparent)]) if traceparent else None
    return context.span_context if context is not None and context.is_sampled else None


def end_attributes(call_id: str, code: str, tenant: str) -> dict[str, str]:
    """The attributes that a SERVER span gets at its end."""
    attributes = {STATUS_CODE: code}
    if call_id:
        attributes[CALL_ID] = call_id
    if tenant:
        attributes[TENANT] = tenant
    return attributes


class RpcSpans:
    """Starts the spans of RPCs."""

    def __init__(self, spans: SpanMaker) -> None:
        self._spans = spans

    def start(self, method: str, parent: ParentContext | None, drawn: int | None) -> RpcSpan:
        """Starts the SERVER span of an RPC; `parent` and `drawn` as for a `SpanMaker`."""
        spans = self._spans
        span = spans.start(server_shape(method), parent, {}, drawn=drawn)
        return SampledRpc(spans, span) if span.is_recording() else RpcSpan(spans.context(span))
