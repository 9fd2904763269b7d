"""The provider that a process sets up for its spans and for handlers' own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter


class Provider(TracerProvider):
    """Batches spans for each exporter; sampler, limits and batches are as the OTEL_* variables say.

    `service` is the `service.name`, unless the variables give another.
    """

    def __init__(self, service: str, exporters: Sequence[SpanExporter]) -> None:
        resource = Resource.create()
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: service}))
        super().__init__(resource=resource)
        self.exporters: Sequence[Any] = exporters
        self.processors: list[SpanProcessor] = []
        for exporter in exporters:
            self.add_span_processor(BatchSpanProcessor(exporter))
        flags = [getattr(exporter, "takes_light_spans", False) for exporter in exporters]
        self.takes_light_spans = flags == [True]
        """Whether the only processor's exporter takes light spans."""

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Adds a processor, as handlers' code may do."""
        super().add_span_processor(span_processor)
        self.processors.append(span_processor)
        self.takes_light_spans = False
