"""Makes spans by OpenTelemetry's SDK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, Span

from forebay_backends.telemetry.sampling import (
    NOTHING,
    DecidedSampler,
    GivenIds,
    decided_by,
    sampled,
)
from forebay_backends.telemetry.span_shapes import Attributes, Shape
from forebay_backends.telemetry.trace_context import ParentContext, context_of


class SpanMaker:
    """Makes the spans of one process by a tracer, whose sampler and ids it wraps."""

    def __init__(self, tracer: Any, ids: IdGenerator) -> None:
        self._ids = GivenIds(ids)
        self.sampler = tracer.sampler = DecidedSampler(tracer.sampler)
        tracer.id_generator = self._ids
        self._tracer: trace.Tracer = tracer

    def start(
        self,
        shape: Shape,
        parent: ParentContext | None,
        attributes: Attributes,
        links: Sequence[Link] = (),
        *,
        drawn: int | None = None,
        is_sampled: bool = False,
    ) -> Span:
        """Starts a span; one that records nothing if it is not sampled.

        The sampler decides, unless `is_sampled` says so already. With `drawn`, it decides as if a
        trace with that id began; without a parent, that trace begins. The caller has found that the
        sampler does not surely drop it.
        """
        context = NOTHING
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(parent.span_context), context)
        if is_sampled:
            context = sampled(context)
        elif drawn is not None and parent is not None:
            context = decided_by(drawn, context)
        elif drawn is not None:
            self._ids.give(drawn)
        return self._tracer.start_span(
            *(shape.name, context, shape.kind, {**shape.attributes, **attributes}, links),
            record_exception=False,
        )

    def context(self, span: Span) -> ParentContext:
        """The context of a span that was started here."""
        return context_of(span)
