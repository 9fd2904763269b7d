"""Light spans: they keep what they are told, and become messages when they end.

The SDK keeps a span in objects of its own, and its exporter turns them into messages, attribute by
attribute. Nearly all of Forebay's spans need none of that: their attributes are known when they
start and end. The SDK still samples, batches and sends them, and a span that gets anything else
meanwhile becomes one of the SDK's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
)

from forebay_backends.telemetry.ending_span import finish
from forebay_backends.telemetry.providers import Provider
from forebay_backends.telemetry.span_encoding import SpanEncoder
from forebay_backends.telemetry.span_maker import SpanMaker
from forebay_backends.telemetry.span_shapes import Attributes, Shape
from forebay_backends.telemetry.trace_context import OwnContext, ParentContext


class LightSpans(SpanMaker):
    """Makes light spans, for a provider's only processor, whose exporter takes them.

    Only for a sampler that is known. If the provider gets further processors, which expect the
    SDK's spans, it makes those.
    """

    def __init__(self, tracer: Any, provider: Provider, scope: InstrumentationScope) -> None:
        super().__init__(tracer, provider.id_generator)
        self._provider = provider
        self._scope = scope
        self._new_trace_id = provider.id_generator.generate_trace_id
        self.new_span_id = provider.id_generator.generate_span_id
        self._limits = sdk.SpanLimits()
        self._encoder = SpanEncoder()
        self._on_end: Callable[[Any], None] = provider.processors[0].on_end
        self.growing = threading.Lock()
        provider.exporters[0].set_origin(provider.resource, scope)

    @property
    def are_taken(self) -> bool:
        """Whether the provider takes light spans; else the SDK's are made."""
        return self._provider.takes_light_spans

    def new_context(
        self, parent: ParentContext | None, drawn: int | None, *, is_sampled: bool = False
    ) -> str:
        """The `traceparent` of a new span."""
        if parent is None:
            trace_id = self._new_trace_id() if drawn is None else drawn
            beginning = f"00-{trace_id:032x}-"
            is_sampled = is_sampled or drawn is not None or not self.sampler.drops(trace_id)
        else:
            beginning = parent.traceparent[:36]
            is_sampled = is_sampled or drawn is not None or self.sampler.samples(parent)
        return f"{beginning}{self.new_span_id():016x}-{'01' if is_sampled else '00'}"

    def end(
        self,
        shape: Shape,
        trace_id: bytes,
        span_id: bytes,
        parent: ParentContext | None,
        begun_ns: int,
        attributes: Attributes,
        links: Sequence[Link] = (),
        *,
        failed: bool,
    ) -> None:
        """Exports a span that ends now; its arguments are those of `SpanEncoder.span`."""
        ended_ns = time.time_ns()
        encoded = self._encoder.span(
            shape, trace_id, span_id, parent, begun_ns, ended_ns, attributes, links, failed=failed
        )
        self._on_end(encoded)

    def grown(
        self,
        shape: Shape,
        context: ParentContext,
        parent: ParentContext | None,
        begun_ns: int,
        attributes: Attributes,
        links: Sequence[Link] = (),
    ) -> Span:
        """The span of the SDK that a light one becomes."""
        span = _GrownSpan(
            shape.name,
            context.span_context,
            None if parent is None else parent.span_context,
            kind=shape.kind,
            resource=self._provider.resource,
            span_processor=self._provider.processors[0],
            limits=self._limits,
            instrumentation_scope=self._scope,
            record_exception=False,
            attributes={**shape.attributes, **attributes},
            links=links,
        )
        span.start(begun_ns)
        return span


class _GrownSpan(sdk.Span):
    """The SDK's own class is only for its tracers, which would draw other ids."""


class LightSpan(OwnContext, Span):
    """A sampled span, and its context for the spans below."""

    def __init__(
        self,
        spans: LightSpans,
        shape: Shape,
        traceparent: str,
        parent: ParentContext | None,
        attributes: Attributes,
        links: Sequence[Link],
    ) -> None:
        self._spans = spans
        self._shape = shape
        self.traceparent = traceparent
        self.state = None if parent is None else parent.state
        self._parent = parent
        self._attributes = attributes
        self._links = links
        self._begun_ns = time.time_ns()
        self._has_ended = False
        self._grown: Span | None = None

    def finish(self, attributes: Attributes, *, failed: bool) -> None:
        """Adds attributes and ends the span, with an error if it `failed`."""
        if self._has_ended:
            return
        if self._grown is not None:
            finish(self._grown, attributes, failed=failed)
            return
        self._has_ended = True
        attributes = {**self._attributes, **attributes} if attributes else self._attributes
        self._spans.end(
            self._shape,
            bytes.fromhex(self.traceparent[3:35]),
            bytes.fromhex(self.traceparent[36:52]),
            self._parent,
            self._begun_ns,
            attributes,
            self._links,
            failed=failed,
        )

    def end(self, end_time: int | None = None) -> None:
        if end_time is None and self._grown is None:
            self.finish({}, failed=False)
        else:
            self._sdk().end(end_time)

    def get_span_context(self) -> SpanContext:
        return self.span_context

    def is_recording(self) -> bool:
        return not self._has_ended and (self._grown is None or self._grown.is_recording())

    def _sdk(self) -> Span:
        """The span of the SDK that this one becomes; after its end, one that records nothing."""
        with self._spans.growing:
            if self._has_ended:
                return NonRecordingSpan(self.span_context)
            if self._grown is None:
                self._grown = self._spans.grown(
                    self._shape, self, self._parent, self._begun_ns, self._attributes, self._links
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


def _of_the_sdk(name: str) -> property:
    return property(lambda span: getattr(span._sdk(), name))


# `__getattr__` would make every access to an attribute of a light span slower.
for _name in set(dir(sdk.Span)) - set(dir(LightSpan)):
    if not _name.startswith("_"):
        setattr(LightSpan, _name, _of_the_sdk(_name))
