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
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from forebay.metadata import TRACEPARENT
from forebay_backends.telemetry.attempt_span import Attempts, TaskTrace
from forebay_backends.telemetry.providers import Provider
from forebay_backends.telemetry.rpc_span import RpcSpan, RpcSpans, UnsampledRoot
from forebay_backends.telemetry.sampling import DecidedSampler
from forebay_backends.telemetry.span_maker import SpanMaker
from forebay_backends.telemetry.trace_context import Pairs, TraceContext, remote_context

_FLUSH_MS = 5000
_SCOPE = InstrumentationScope("forebay", version("forebay"))


def own_tracing() -> Tracing:
    """By the provider that the program has set up."""
    provider = trace.get_tracer_provider()
    assert isinstance(provider, TracerProvider)  # noqa: S101  # `tracing.py` has checked it
    return Tracing(provider)


def new_tracing(service: str, exporters: Sequence[SpanExporter]) -> Tracing:
    """Sets up the SDK, also for handlers' own instrumentation."""
    provider = Provider(service, exporters)
    trace.set_tracer_provider(provider)
    return Tracing(provider)


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._new_trace_id = provider.id_generator.generate_trace_id
        self._new_span_id = provider.id_generator.generate_span_id
        self._unsampled_root = UnsampledRoot(provider.id_generator)
        self._spans, self._rpcs, self._attempts = _span_makers(provider)
        self._sampler = self._spans.sampler

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
        if parent is None and self._sampler.drops_all:
            return self._unsampled_root
        drawn = None
        if parent is None or not is_trusted():
            drawn = self._new_trace_id()
            if self._sampler.drops(drawn):
                return self._unsampled_root if parent is None else self._unsampled(parent)
        return self._rpcs.start(method, parent, drawn)

    def _unsampled(self, parent: TraceContext) -> RpcSpan:
        """An unsampled RPC, for which the SDK makes no span: that takes longer than all of this."""
        return RpcSpan(parent.unsampled_child(self._new_span_id()))

    def task(self, size: int) -> TaskTrace:
        """The trace of one task's run; `size` is the number of its calls."""
        return TaskTrace(self._attempts, size)


def _span_makers(provider: TracerProvider) -> tuple[SpanMaker, RpcSpans, Attempts]:
    """Those of light spans instead of the SDK's where that is the same."""
    tracer: Any = provider.get_tracer(_SCOPE.name, _SCOPE.version)
    if (
        not isinstance(provider, Provider)
        or not provider.takes_light_spans
        or not DecidedSampler(tracer.sampler).is_known
    ):
        spans = SpanMaker(tracer, provider.id_generator)
        return spans, RpcSpans(spans), Attempts(spans)
    # Imported here, because only the exporter's package has OTLP's messages.
    from forebay_backends.telemetry.light_attempt import LightAttempts
    from forebay_backends.telemetry.light_rpc import LightRpcSpans
    from forebay_backends.telemetry.light_spans import LightSpans

    light = LightSpans(tracer, provider, _SCOPE)
    return light, LightRpcSpans(light), LightAttempts(light)
