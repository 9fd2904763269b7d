"""The spans of calls, on OpenTelemetry's API.

A sampled call has a SERVER span for the RPC, a PRODUCER span from accept to the sending of its
message, and a CONSUMER span for each attempt. In the metadata that goes to the worker, the PRODUCER
span's context replaces the caller's, so that it is in the record, in a batch's message and in a
plain task's headers. The first attempt's span is a child of the PRODUCER span. A later attempt may
run long after the trace has ended, so it has a trace of its own, with a link.

For an unsampled call, only one sampling decision is made, of which the worker is told: it makes no
spans then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind

from forebay.metadata import TRACEPARENT
from forebay_backends.telemetry.attempt_span import TaskTrace
from forebay_backends.telemetry.rpc_span import RpcSpan, SampledRpc, UnsampledRoot
from forebay_backends.telemetry.sampling import NOTHING, DecidedSampler, GivenIds, decided_by
from forebay_backends.telemetry.span_fields import server_attributes
from forebay_backends.telemetry.trace_context import Pairs, remote_context, traceparent

_FLUSH_MS = 5000


def own_provider() -> TracerProvider:
    """The provider that the program has set up."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)  # noqa: S101  # `tracing.py` has checked it
    return provider


def new_provider(service: str, exporters: Sequence[SpanExporter]) -> TracerProvider:
    """Sets up the SDK, also for handlers' own instrumentation; it reads the OTEL_* variables."""
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: service}))
    provider = TracerProvider(resource=resource)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return provider


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._new_trace_id = provider.id_generator.generate_trace_id
        self._new_span_id = provider.id_generator.generate_span_id
        self._unsampled_root = UnsampledRoot(provider.id_generator)
        self._ids = GivenIds(provider.id_generator)
        tracer: Any = provider.get_tracer("forebay", version("forebay"))
        self._sampler = tracer.sampler = DecidedSampler(tracer.sampler)
        tracer.id_generator = self._ids
        self.tracer: trace.Tracer = tracer

    def flush(self) -> None:
        """Exports the spans that have ended; waits for 5 s at most."""
        self._provider.force_flush(_FLUSH_MS)

    def rpc(self, method: str, metadata: Pairs, is_trusted: Callable[[], bool]) -> RpcSpan:
        """Starts the SERVER span of an RPC; an untrusted caller does not decide on sampling."""
        parent = None
        for key, _ in metadata:
            if key == TRACEPARENT:
                parent = remote_context(metadata)
                break
        context = NOTHING
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(parent), context)
        if parent is None or not is_trusted():
            drawn = self._new_trace_id()
            if self._sampler.drops(drawn):
                return self._unsampled_root if parent is None else self._unsampled(parent)
            if parent is None:
                self._ids.give(drawn)
            else:
                context = decided_by(drawn, context)
        attributes = server_attributes(method)
        span = self.tracer.start_span(
            attributes["rpc.method"],
            context,
            SpanKind.SERVER,
            attributes,
            record_exception=False,
        )
        if span.is_recording():
            return SampledRpc(self.tracer, span)
        own = span.get_span_context()
        return RpcSpan(traceparent(own), own.trace_state)

    def _unsampled(self, parent: SpanContext) -> RpcSpan:
        """An unsampled RPC, for which the SDK makes no span: that takes longer than all of this."""
        context = f"00-{parent.trace_id:032x}-{self._new_span_id():016x}-00"
        return RpcSpan(context, parent.trace_state)

    def task(self, size: int) -> TaskTrace:
        """The trace of one task's run; `size` is the number of its calls."""
        return TaskTrace(self.tracer, size)
