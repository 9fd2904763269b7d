"""The span of a sampled attempt as a light span; see `light_spans.py`."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.trace import Link, NonRecordingSpan, Span

from forebay_backends.telemetry.attempt_span import Attempts, AttemptSpan, SampledAttempt
from forebay_backends.telemetry.light_spans import LightSpan, LightSpans
from forebay_backends.telemetry.span_shapes import Attributes, Shape
from forebay_backends.telemetry.trace_context import ParentContext, child_context

_NONE: Attributes = {}


class LightAttempt(LightSpan, SampledAttempt):
    """The CONSUMER span of one attempt, and its record of what the handler does, in one object."""

    @property
    def current_span(self) -> Span:
        return self

    def on_end(self, code: int | None, stopped: str | None = None) -> None:
        if code == 0 and stopped is None and self._items is None:
            self.finish(_NONE, failed=False)  # as most attempts end
        else:
            super().on_end(code, stopped)


class LightAttempts(Attempts):
    """Starts the spans of attempts as light ones, as long as the provider takes them."""

    def __init__(self, spans: LightSpans) -> None:
        super().__init__(spans)
        self._light = spans

    def start(
        self,
        shape: Shape,
        parent: ParentContext | None,
        attributes: Attributes,
        links: Sequence[Link],
        *,
        is_sampled: bool,
    ) -> AttemptSpan:
        if not self._light.are_taken:
            return super().start(shape, parent, attributes, links, is_sampled=is_sampled)
        traceparent = self._light.new_context(parent, None, is_sampled=is_sampled)
        if traceparent.endswith("01"):
            return LightAttempt(self._light, shape, traceparent, parent, attributes, links)
        context = child_context(traceparent, parent)
        return AttemptSpan(NonRecordingSpan(context.span_context), traceparent)
