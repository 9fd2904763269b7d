"""OpenTelemetry's exporter of OTLP by gRPC, which also takes our spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from forebay_backends.telemetry.span_encoding import EncodedSpan, RequestEncoder


class LightSpanExporter(OTLPSpanExporter):
    """Sends the SDK's spans, which handlers make, and ours in one request."""

    takes_light_spans = True
    _requests: RequestEncoder

    def set_origin(self, resource: Resource, scope: InstrumentationScope) -> None:
        """Sets what all our spans belong to; must be called before any is exported."""
        self._requests = RequestEncoder(resource, scope)

    def _translate_data(
        self, data: Sequence[ReadableSpan | EncodedSpan]
    ) -> ExportTraceServiceRequest:
        # By type, because `isinstance` of an abstract class takes three times the CPU.
        ours = [span for span in data if type(span) is EncodedSpan]
        others: list[Any] = [span for span in data if type(span) is not EncodedSpan]
        request = super()._translate_data(others)
        if ours:
            request.MergeFromString(self._requests.request(ours))
        return request
