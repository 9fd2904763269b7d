"""OpenTelemetry's exporter of OTLP by gRPC, which also takes our spans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from forebay_backends.telemetry.span_encoding import EncodedSpan, RequestEncoder

_SERVICE = trace_service_pb2.DESCRIPTOR.services_by_name["TraceService"]
_EXPORT = f"/{_SERVICE.full_name}/Export"


class _EncodedTraces:
    """The stub of OTLP's service, for requests that are encoded already."""

    def __init__(self, channel: grpc.Channel) -> None:
        response = trace_service_pb2.ExportTraceServiceResponse
        self.Export: Any = channel.unary_unary(_EXPORT, response_deserializer=response.FromString)


class LightSpanExporter(OTLPSpanExporter):
    """Sends the SDK's spans, which handlers make, and ours in one request."""

    takes_light_spans = True
    _requests: RequestEncoder

    def set_origin(self, resource: Resource, scope: InstrumentationScope) -> None:
        """Sets what all our spans belong to; must be called before any is exported."""
        self._requests = RequestEncoder(resource, scope)

    def _initialize_channel_and_stub(self) -> None:
        self._stub: Any = _EncodedTraces
        super()._initialize_channel_and_stub()  # type: ignore[no-untyped-call] # of the SDK

    def _translate_data(self, data: Sequence[ReadableSpan | EncodedSpan]) -> Any:
        """The encoded request: an encoded message after another of its kind is both, merged."""
        # By type, because `isinstance` of an abstract class takes three times the CPU.
        ours = [span for span in data if type(span) is EncodedSpan]
        if len(ours) == len(data):
            return self._requests.request(ours)
        others: list[Any] = [span for span in data if type(span) is not EncodedSpan]
        request = super()._translate_data(others).SerializeToString()
        return request + self._requests.request(ours) if ours else request
