"""The spans of calls, on OpenTelemetry's API. This module alone imports it.

A sampled call has a SERVER span for the RPC, a PRODUCER span from accept to the sending of its
message, and a CONSUMER span for each attempt. In the metadata that goes to the worker, the PRODUCER
span's context replaces the caller's, so that it is in the record, in a batch's message and in a
plain task's headers. The first attempt's span is a child of the PRODUCER span. A later attempt may
run long after the trace has ended, so it has a trace of its own, with a link.

For an unsampled call, only one sampling decision is made: the context of its SERVER span goes to
the worker, which then makes no spans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.metadata import version
from typing import Any, TypeVar

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)

from forebay.metadata import TRACEPARENT, TRACESTATE, trace_parts
from forebay.v1 import call_pb2
from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.server_faults import SERVER_FAULTS

CALL_ID = "forebay.call_id"
ATTEMPT = "forebay.attempt"
TENANT = "forebay.tenant"
LINK = "forebay.link"
ORDINAL = "forebay.item.ordinal"
STOPPED = "forebay.stopped"
STATUS_CODE = "rpc.response.status_code"

_DECISION = "forebay-sampling"
_OWN, _SAMPLED = "own", "sampled"
_FLUSH_MS = 5000
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}
_NOTHING = Context()

Pairs = Iterable[tuple[str, str | bytes]]
T = TypeVar("T")


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
        tracer: Any = provider.get_tracer("forebay", version("forebay"))
        tracer.sampler = _DecidedSampler(tracer.sampler)
        self.tracer: trace.Tracer = tracer

    def flush(self) -> None:
        """Exports the spans that have ended; waits for 5 s at most."""
        self._provider.force_flush(_FLUSH_MS)

    def rpc(self, method: str, metadata: Pairs, is_trusted: Callable[[], bool]) -> RpcSpan:
        """Starts the SERVER span of an RPC; an untrusted caller does not decide on sampling."""
        parent = remote_context(metadata)
        context = _NOTHING
        if parent is not None:
            context = trace.set_span_in_context(NonRecordingSpan(parent), context)
            if not is_trusted():
                context = otel_context.set_value(_DECISION, _OWN, context)
        attributes = _server_attributes(method)
        span = self.tracer.start_span(
            attributes["rpc.method"],
            context,
            SpanKind.SERVER,
            attributes,
            record_exception=False,
        )
        return RpcSpan(self.tracer, span)

    def task(self, size: int) -> TaskTrace:
        """The trace of one task's run; `size` is the number of its calls."""
        return TaskTrace(self.tracer, size)


class RpcSpan:
    """The SERVER span of one RPC, and the PRODUCER span of the call that it makes."""

    def __init__(self, tracer: trace.Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._producer: Span | None = None
        self._items = ItemEvents()
        self.is_recording = span.is_recording()
        self.traceparent = traceparent(span.get_span_context())

    @property
    def producer_traceparent(self) -> str:
        """The call's trace context, for RPCs that attach to it; empty if it is unsampled."""
        return "" if self._producer is None else traceparent(self._producer.get_span_context())

    def publish(self, queue: str, metadata: call_pb2.Metadata) -> None:
        """Starts the PRODUCER span, and puts its context into the metadata for the worker."""
        context, text = self._span.get_span_context(), self.traceparent
        if self.is_recording:
            self._producer = self._tracer.start_span(
                f"send {queue}",
                trace.set_span_in_context(self._span, _NOTHING),
                SpanKind.PRODUCER,
                _messaging_attributes(queue),
                record_exception=False,
            )
            context, text = self._producer.get_span_context(), self.producer_traceparent
        _put_context(metadata, context, text)

    def sent(self) -> None:
        """The call was accepted and its message sent: ends the PRODUCER span."""
        if self._producer is not None and self._producer.is_recording():
            self._producer.end()

    def attached(self, call: str) -> None:
        """The RPC attached to a call that was accepted before; `call` is its trace context."""
        self._producer = None  # not ended, so not exported: nothing was sent
        linked = remote_context([(TRACEPARENT, call)]) if call else None
        if linked is not None:
            self._span.add_link(linked, {LINK: "call"})

    def on_response(self) -> None:
        _add_item(self._span, self._items)

    def end(self, call_id: str, code: str, tenant: str = "") -> None:
        """Ends the span with the RPC's status."""
        if self._producer is not None and self._producer.is_recording():
            self._producer.set_status(StatusCode.ERROR)
            self._producer.end()
        attributes = {STATUS_CODE: code}
        if call_id:
            attributes[CALL_ID] = call_id
        if tenant:
            attributes[TENANT] = tenant
        _end(self._span, self._items, code, attributes)


class TaskTrace:
    """The attempts of one Celery task, which are the members of a batch if there are several."""

    def __init__(self, tracer: trace.Tracer, size: int) -> None:
        self._tracer = tracer
        self._size = size
        self._first: SpanContext | None = None

    def attempt(
        self,
        method: str,
        queue: str,
        call_id: str,
        attempt: int,
        metadata: Pairs,
        tenant: str = "",
    ) -> AttemptSpan:
        """Starts the CONSUMER span of an attempt, below the PRODUCER span in the metadata."""
        producer = remote_context(metadata)
        if producer is not None and not producer.trace_flags.sampled:
            return AttemptSpan(NonRecordingSpan(producer))
        context, links = _NOTHING, []
        if producer is not None and attempt == 1:
            context = trace.set_span_in_context(NonRecordingSpan(producer), context)
        elif producer is not None:
            context = otel_context.set_value(_DECISION, _SAMPLED, context)
            links.append(Link(producer, {LINK: "call"}))
        if self._first is not None:
            links.append(Link(self._first, {LINK: "batch"}))
        span = self._tracer.start_span(
            f"process {queue}",
            context,
            SpanKind.CONSUMER,
            {
                **_messaging_attributes(queue),
                "rpc.method": _server_attributes(method)["rpc.method"],
                CALL_ID: call_id,
                ATTEMPT: attempt,
                **({TENANT: tenant} if tenant else {}),
                **({"messaging.batch.message_count": self._size} if self._size > 1 else {}),
            },
            links,
            record_exception=False,
        )
        if self._first is None and self._size > 1:
            self._first = span.get_span_context()
        return AttemptSpan(span)


class AttemptSpan:
    """The CONSUMER span of one attempt."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._items = ItemEvents()

    @property
    def is_recording(self) -> bool:
        return self._span.is_recording()

    @property
    def traceparent(self) -> str:
        return traceparent(self._span.get_span_context())

    def run(self, run: Callable[[], T]) -> T:
        """Calls `run` with the span as the current one, in a context of its own."""
        otel_context.attach(trace.set_span_in_context(self._span, _NOTHING))
        return run()

    def on_item(self) -> None:
        _add_item(self._span, self._items)

    def failed(self, error: BaseException) -> None:
        """Records only the type of the handler's error: its text, in the log, may be secret."""
        kind = type(error)
        self._span.set_attribute("error.type", f"{kind.__module__}.{kind.__qualname__}")

    def end(self, code: int | None, stopped: str | None = None) -> None:
        """Ends the span; `code` is None for an attempt that ended without an outcome."""
        if not self._span.is_recording():
            return
        name = "" if code is None else _CODES.get(code, "UNKNOWN")
        attributes = {STATUS_CODE: name} if code else {}
        if stopped is not None:
            attributes[STOPPED] = stopped
        _end(self._span, self._items, name, attributes)


class _DecidedSampler(Sampler):
    """The provider's sampler, except for contexts that contain a decision.

    `_OWN`: the sampler decides as if the trace began here. It gets a random trace id, because a
    caller could choose an id that is always sampled. `_SAMPLED`: sampled, like the call.
    """

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def should_sample(
        self, parent_context: Context | None, trace_id: int, *args: Any, **kwargs: Any
    ) -> SamplingResult:
        decision = None if parent_context is None else parent_context.get(_DECISION)
        if decision is None:
            return self._sampler.should_sample(parent_context, trace_id, *args, **kwargs)
        parent = trace.get_current_span(parent_context).get_span_context()
        if decision == _SAMPLED:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, _attributes(args, kwargs))
        random_id = RandomIdGenerator().generate_trace_id()
        result = self._sampler.should_sample(_NOTHING, random_id, *args, **kwargs)
        return SamplingResult(result.decision, result.attributes, parent.trace_state)

    def get_description(self) -> str:
        return self._sampler.get_description()


def _attributes(args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """The `attributes` argument of `should_sample`, which comes after name and kind."""
    return args[2] if len(args) > 2 else kwargs.get("attributes")


def remote_context(metadata: Pairs) -> SpanContext | None:
    """The W3C trace context in metadata; None if there is none, or it is invalid."""
    parents, states = [], []
    for key, value in metadata:
        if key == TRACEPARENT:
            parents.append(value)
        elif key == TRACESTATE and isinstance(value, str):
            states.append(value)
    if len(parents) != 1 or not isinstance(parents[0], str):
        return None
    parts = trace_parts(parents[0])
    if parts is None:
        return None
    trace_id, span_id, flags = (int(part, 16) for part in parts)
    remote = SpanContext(
        trace_id,
        span_id,
        is_remote=True,
        trace_flags=TraceFlags(flags),
        trace_state=TraceState.from_header(states) if states else None,
    )
    return remote if remote.is_valid else None


def traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


def _put_context(metadata: call_pb2.Metadata, context: SpanContext, text: str) -> None:
    entries = metadata.entries
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].key in (TRACEPARENT, TRACESTATE):
            del entries[index]
    entries.add(key=TRACEPARENT, value=text.encode())
    if context.trace_state:
        entries.add(key=TRACESTATE, value=context.trace_state.to_header().encode())


def _add_item(span: Span, items: ItemEvents) -> None:
    now_ns = time.time_ns()
    ordinal = items.on_item(now_ns)
    if ordinal is not None:
        span.add_event("item", {ORDINAL: ordinal}, now_ns)


def _end(span: Span, items: ItemEvents, code: str, attributes: dict[str, str]) -> None:
    last = items.last()
    if last is not None:
        span.add_event("item", {ORDINAL: last[0]}, last[1])
    if attributes:
        span.set_attributes(attributes)
    if code in SERVER_FAULTS:
        span.set_status(StatusCode.ERROR)
    span.end()


@lru_cache
def _server_attributes(method: str) -> dict[str, str]:
    service, _, name = method.rpartition(".")
    return {"rpc.system.name": "grpc", "rpc.method": f"{service}/{name}"}


@lru_cache
def _messaging_attributes(queue: str) -> dict[str, str]:
    return {"messaging.system": "celery", "messaging.destination.name": queue}
