"""Spans that become OTLP messages without being the SDK's first.

The SDK keeps a span in objects of its own, and its exporter turns them into messages, attribute by
attribute. Nearly all of Forebay's spans need none of that: their attributes are known when they
start and end. The SDK still samples, batches and sends them, and a span that a handler adds to
becomes one of the SDK's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
)

from forebay_backends.telemetry.ending_span import finish
from forebay_backends.telemetry.providers import Provider
from forebay_backends.telemetry.span_maker import Attributes, SpanMaker
from forebay_backends.telemetry.span_shapes import Shape
from forebay_backends.telemetry.trace_context import TraceContext, own_context

_LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_KINDS = {
    SpanKind.SERVER: Message.SPAN_KIND_SERVER,
    SpanKind.PRODUCER: Message.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: Message.SPAN_KIND_CONSUMER,
}


class _Sampled:
    """All that OpenTelemetry's processor looks for in the context of a span that has ended."""

    trace_flags = TraceFlags(TraceFlags.SAMPLED)


class MessageSpans(SpanMaker):
    """Makes spans for a provider's only processor, whose exporter takes messages.

    Only for a sampler that is known. If the provider gets further processors, which expect the
    SDK's spans, it makes those.
    """

    def __init__(self, tracer: Any, provider: Provider, scope: InstrumentationScope) -> None:
        super().__init__(tracer, provider.id_generator)
        self._provider = provider
        self._scope = scope
        self.envelope = _envelope(provider.resource, scope)
        self._new_trace_id = provider.id_generator.generate_trace_id
        self._new_span_id = provider.id_generator.generate_span_id
        self._templates: dict[Shape, Message] = {}
        self._last_link: tuple[Link | None, Message.Link] = (None, Message.Link())
        self._limits = sdk.SpanLimits()
        self.growing = threading.Lock()
        self.on_end: Callable[[Any], None] = provider.processors[0].on_end

    def start(
        self,
        shape: Shape,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[Link] = (),
        *,
        drawn: int | None = None,
        is_sampled: bool = False,
    ) -> Span:
        if not self._provider.takes_messages:
            return super().start(
                shape, parent, attributes, links, drawn=drawn, is_sampled=is_sampled
            )
        trace_id = (drawn or self._new_trace_id()) if parent is None else parent.trace_id
        if not is_sampled:
            decisive = parent if drawn is None else None
            is_sampled = self.sampler.samples(decisive, drawn or trace_id)
        span_id = self._new_span_id()
        if parent is None:
            context = own_context(trace_id, span_id, is_sampled=is_sampled)
        else:
            context = parent.child(span_id, is_sampled=is_sampled)
        if not is_sampled:
            return NonRecordingSpan(context.span_context)
        template = self._templates.get(shape) or self._template(shape)
        return MessageSpan(self, shape, template, context, parent, attributes, links)

    def context(self, span: Span) -> TraceContext:
        return span.text if type(span) is MessageSpan else super().context(span)

    def _template(self, shape: Shape) -> Message:
        """A message with all that the spans of that shape have in common."""
        template = Message(name=shape.name, kind=_KINDS[shape.kind], flags=_LOCAL)
        template.status.code = Status.STATUS_CODE_UNSET
        _put(template, shape.attributes)
        return self._templates.setdefault(shape, template)

    def link(self, link: Link) -> Message.Link:
        """The message of a link; the calls of a batch link to one span."""
        last, message = self._last_link
        if last is not link:
            message = _link_message(link)
            self._last_link = link, message
        return message

    def grown(self, shape: Shape, begun_ns: int, **fields: Any) -> Span:
        """A span of the SDK with these fields."""
        span = _GrownSpan(
            shape.name,
            kind=shape.kind,
            resource=self._provider.resource,
            span_processor=self._provider.processors[0],
            limits=self._limits,
            instrumentation_scope=self._scope,
            record_exception=False,
            **fields,
        )
        span.start(begun_ns)
        return span


class _GrownSpan(sdk.Span):
    """The SDK's own class is only for its tracers, which would draw other ids."""


class MessageSpan(Span):
    """A sampled span."""

    context = _Sampled

    def __init__(
        self,
        spans: MessageSpans,
        shape: Shape,
        template: Message,
        text: TraceContext,
        parent: TraceContext | None,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> None:
        self._spans = spans
        self._shape = shape
        self._template = template
        self.text = text
        self._parent = parent
        self._attributes = attributes
        self._links = links
        self._begun_ns = time.time_ns()
        self._grown: Span | None = None
        self.message: Message | None = None
        """None until the span has ended."""

    @property
    def envelope(self) -> ResourceSpans:
        """The resource and the scope of the span."""
        return self._spans.envelope

    def finish(self, attributes: Attributes, *, failed: bool) -> None:
        """Adds attributes and ends the span, with an error if it `failed`."""
        if self.message is not None:
            return
        if self._grown is not None:
            finish(self._grown, attributes, failed=failed)
            return
        text, parent = self.text.traceparent, self._parent
        message = Message()
        message.CopyFrom(self._template)
        message.trace_id = bytes.fromhex(text[3:35])
        message.span_id = bytes.fromhex(text[36:52])
        if parent is not None:
            message.parent_span_id = bytes.fromhex(parent.traceparent[36:52])
            if parent.is_remote:
                message.flags = _REMOTE
            if parent.state:
                message.trace_state = parent.state.to_header()
        message.start_time_unix_nano = self._begun_ns
        message.end_time_unix_nano = time.time_ns()
        _put(message, self._attributes)
        _put(message, attributes)
        for link in self._links:
            message.links.append(self._spans.link(link))
        if failed:
            message.status.code = Status.STATUS_CODE_ERROR
        self.message = message
        self._spans.on_end(self)

    def end(self, end_time: int | None = None) -> None:
        if end_time is None and self._grown is None:
            self.finish({}, failed=False)
        else:
            self._sdk().end(end_time)

    def get_span_context(self) -> SpanContext:
        return self.text.span_context

    def is_recording(self) -> bool:
        return self.message is None and (self._grown is None or self._grown.is_recording())

    def _sdk(self) -> Span:
        """The span of the SDK that this one becomes; after its end, one that records nothing."""
        with self._spans.growing:
            if self.message is not None:
                return NonRecordingSpan(self.text.span_context)
            if self._grown is None:
                self._grown = self._spans.grown(
                    self._shape,
                    self._begun_ns,
                    context=self.text.span_context,
                    parent=None if self._parent is None else self._parent.span_context,
                    attributes={**self._shape.attributes, **self._attributes},
                    links=self._links,
                )
            return self._grown

    def set_attributes(self, attributes: Any) -> None:
        self._sdk().set_attributes(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self._sdk().set_attribute(key, value)

    def add_event(self, name: str, *arguments: Any, **options: Any) -> None:
        self._sdk().add_event(name, *arguments, **options)

    def add_link(self, context: SpanContext, attributes: Any = None) -> None:
        self._sdk().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._sdk().update_name(name)

    def set_status(self, status: Any, description: str | None = None) -> None:
        self._sdk().set_status(status, description)

    def record_exception(self, exception: BaseException, *arguments: Any, **options: Any) -> None:
        self._sdk().record_exception(exception, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        """The further attributes of the SDK's spans, such as `status`."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._sdk(), name)


def _envelope(resource: Resource, scope: InstrumentationScope) -> ResourceSpans:
    """The message that holds our spans in a request, without spans."""
    example = sdk.ReadableSpan(
        "", SpanContext(1, 1, False), resource=resource, instrumentation_scope=scope
    )
    (envelope,) = encode_spans([example]).resource_spans
    del envelope.scope_spans[0].spans[:]
    return envelope


def _put(message: Message | Message.Link, attributes: Attributes) -> None:
    for key, value in attributes.items():
        added = message.attributes.add(key=key)
        if isinstance(value, str):
            added.value.string_value = value
        else:
            added.value.int_value = value


def _link_message(link: Link) -> Message.Link:
    message = Message.Link(
        trace_id=link.context.trace_id.to_bytes(16),
        span_id=link.context.span_id.to_bytes(8),
        flags=_REMOTE if link.context.is_remote else _LOCAL,
    )
    attributes: Any = link.attributes or {}  # our own, which are plain text
    _put(message, attributes)
    return message
