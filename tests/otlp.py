"""A receiver of OpenTelemetry's traces: OTLP over gRPC and over HTTP, on free ports."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class ReceivedSpan:
    """A span, and the name of the service that it is from."""

    service: str
    span: trace_pb2.Span

    @property
    def name(self) -> str:
        return self.span.name

    @property
    def kind(self) -> str:
        return trace_pb2.Span.SpanKind.Name(self.span.kind).removeprefix("SPAN_KIND_")

    @property
    def trace_id(self) -> str:
        return self.span.trace_id.hex()

    @property
    def id(self) -> str:
        return self.span.span_id.hex()

    @property
    def parent(self) -> str:
        """Empty for a root."""
        return self.span.parent_span_id.hex()

    @property
    def links(self) -> list[str]:
        """The ids of the spans that it links to."""
        return [link.span_id.hex() for link in self.span.links]

    @property
    def failed(self) -> bool:
        return bool(self.span.status.code == trace_pb2.Status.STATUS_CODE_ERROR)

    @property
    def items(self) -> list[int]:
        """The ordinals of its events."""
        return [
            int(_values(event.attributes)["forebay.item.ordinal"]) for event in self.span.events
        ]

    def __getitem__(self, attribute: str) -> Any:
        return _values(self.span.attributes).get(attribute)


class Receiver:
    """All spans that were exported to it."""

    def __init__(self) -> None:
        self._spans: list[ReceivedSpan] = []
        self._texts: list[str] = []
        self._lock = threading.Lock()
        self.grpc_port = 0
        self.http_port = 0

    def receive(self, request: ExportTraceServiceRequest) -> None:
        received = [
            ReceivedSpan(_values(resource.resource.attributes)["service.name"], span)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]
        with self._lock:
            self._spans += received
            self._texts.append(str(request))

    @property
    def spans(self) -> list[ReceivedSpan]:
        with self._lock:
            return list(self._spans)

    @property
    def text(self) -> str:
        """All that was exported, with the processes' own attributes."""
        with self._lock:
            return "\n".join(self._texts)


@contextlib.contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Receives until the block is left."""
    receiver = Receiver()
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = _TraceService(receiver)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    receiver.grpc_port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(receiver)) as http:
        receiver.http_port = http.server_port
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield receiver
        finally:
            http.shutdown()
            thread.join()
            server.stop(None).wait()


class _TraceService(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def Export(  # noqa: N802 - gRPC's name
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self._receiver.receive(request)
        return ExportTraceServiceResponse()


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.receive(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
