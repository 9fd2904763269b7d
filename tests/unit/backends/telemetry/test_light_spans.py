"""Light spans: they are exported as if they had been the SDK's."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as ByHttp
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    Span,
    Status,
    StatusCode,
    TraceState,
    get_current_span,
)

from forebay.v1 import call_pb2
from forebay_backends.telemetry.attempt_span import AttemptSpan
from forebay_backends.telemetry.call_labels import trace_of_member
from forebay_backends.telemetry.ending_span import finish
from forebay_backends.telemetry.light_attempt import LightAttempt
from forebay_backends.telemetry.light_rpc import LightRpc
from forebay_backends.telemetry.light_span_exporter import LightSpanExporter
from forebay_backends.telemetry.light_spans import LightSpan
from forebay_backends.telemetry.providers import Provider
from forebay_backends.telemetry.rpc_span import RpcSpan
from forebay_backends.telemetry.span_shapes import (
    Shape,
    consumer_shape,
    producer_shape,
    server_shape,
)
from forebay_backends.telemetry.spans import Tracing
from forebay_backends.telemetry.trace_context import TraceContext
from forebay_backends.telemetry.tracing import taking_light_spans

SHAPES = [
    server_shape("shop.Orders.Place"),
    producer_shape("orders"),
    consumer_shape("orders", "shop.Orders.Place"),
]
STATE = TraceState([("a", "1"), ("b", "2")])
REMOTE = TraceContext(f"00-{5:032x}-{6:016x}-01", STATE, is_remote=True)
LOCAL = TraceContext(f"00-{5:032x}-{7:016x}-01", is_remote=False)
LINKS = (Link(REMOTE.span_context, {"forebay.link": "call"}), Link(LOCAL.span_context))
CALL = "forebay.call_id"


class Unknown(ParentBased):
    """A sampler of someone else's."""


class Kept(SpanExporter):
    """Keeps the requests that OpenTelemetry's exporter would send."""

    def __init__(self, *, takes_light_spans: bool = True) -> None:
        self.takes_light_spans = takes_light_spans
        self._exporter = LightSpanExporter(endpoint="http://127.0.0.1:9", insecure=True)
        self.requests: list[ExportTraceServiceRequest] = []

    def set_origin(self, resource: Resource, scope: InstrumentationScope) -> None:
        self._exporter.set_origin(resource, scope)

    def export(self, spans: Sequence[sdk.ReadableSpan]) -> SpanExportResult:
        encoded = self._exporter._translate_data(spans)
        self.requests.append(ExportTraceServiceRequest.FromString(encoded))
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self._exporter.shutdown()


class Traced:
    """A process that traces, and what it has exported."""

    def __init__(self, exporter: SpanExporter) -> None:
        self.provider = Provider("forebay-test", [exporter])
        self.tracing = Tracing(self.provider)


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def traced(kept: Kept) -> Iterator[Traced]:
    traced = Traced(kept)
    yield traced
    traced.provider.shutdown()


def exported(traced: Traced, kept: Kept) -> list[Any]:
    """All messages of spans."""
    traced.tracing.flush()
    return [
        span
        for request in kept.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def make(
    traced: Traced,
    shape: Shape,
    parent: TraceContext | None = None,
    links: Sequence[Link] = (),
) -> Span:
    attributes = {CALL: "order-17", "forebay.attempt": 2}
    attempts = traced.tracing._attempts
    return attempts.start(shape, parent, attributes, links, is_sampled=False).current_span


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
@pytest.mark.parametrize("parent", [None, LOCAL, REMOTE], ids=["root", "local", "remote"])
@pytest.mark.parametrize("links", [(), LINKS])
@pytest.mark.parametrize(
    ("last", "failed"), [({}, False), ({"rpc.response.status_code": "UNAVAILABLE"}, True)]
)
def test_a_message_is_what_the_sdks_exporter_makes_of_a_span_of_the_sdk(
    shape: Shape,
    parent: TraceContext | None,
    links: tuple[Link, ...],
    last: dict[str, str],
    failed: bool,
) -> None:
    requests = []
    for is_light in (True, False):
        kept = Kept(takes_light_spans=is_light)
        traced = Traced(kept)
        span = make(traced, shape, parent, links)
        assert isinstance(span, LightSpan) is is_light
        finish(span, last, failed=failed)
        (message,) = exported(traced, kept)
        assert message.span_id == span.get_span_context().span_id.to_bytes(8)
        assert message.trace_id == span.get_span_context().trace_id.to_bytes(16)
        for field in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
            message.ClearField(field)
        if parent is None:
            message.ClearField("trace_id")
        requests.append(kept.requests)
        traced.provider.shutdown()
    assert requests[0] == requests[1]


def test_a_span_has_the_times_of_its_start_and_end(traced: Traced, kept: Kept) -> None:
    times = [time.time_ns()]
    span = make(traced, SHAPES[0])
    times.append(time.time_ns())
    finish(span, {}, failed=False)
    times.append(time.time_ns())
    (message,) = exported(traced, kept)
    (begun, ended) = message.start_time_unix_nano, message.end_time_unix_nano
    assert times[0] <= begun <= times[1] <= ended <= times[2]


def unary(rpc: RpcSpan) -> None:
    rpc.publish_member("orders", call_pb2.BatchMember())
    rpc.sent()
    rpc.end("order-17", "OK", "acme")


def refused(rpc: RpcSpan) -> None:
    rpc.end("", "RESOURCE_EXHAUSTED")


def not_sent(rpc: RpcSpan) -> None:
    rpc.publish("orders", call_pb2.Metadata())
    rpc.end("order-17", "UNAVAILABLE")


def streaming(rpc: RpcSpan) -> None:
    rpc.publish("orders", call_pb2.Metadata())
    rpc.sent()
    for _ in range(250):
        rpc.on_response()
    rpc.end("order-17", "INTERNAL")


def attached(rpc: RpcSpan) -> None:
    rpc.publish("orders", call_pb2.Metadata())
    rpc.attached(REMOTE.traceparent)
    rpc.on_response()
    rpc.end("order-17", "OK")


def attached_to_an_unsampled_call(rpc: RpcSpan) -> None:
    rpc.attached(f"{REMOTE.traceparent[:-1]}0")
    rpc.end("order-17", "OK")


@pytest.mark.parametrize("is_below", [False, True], ids=["root", "below the caller's"])
@pytest.mark.parametrize(
    "serve", [unary, refused, not_sent, streaming, attached, attached_to_an_unsampled_call]
)
def test_the_spans_of_an_rpc_are_as_if_they_were_the_sdks(
    serve: Callable[[RpcSpan], None], is_below: bool
) -> None:
    caller = [("traceparent", REMOTE.traceparent), ("tracestate", STATE.to_header())]
    found = []
    for is_light in (True, False):
        kept = Kept(takes_light_spans=is_light)
        traced = Traced(kept)
        rpc = traced.tracing.rpc("shop.Orders.Place", caller if is_below else [], lambda: True)
        assert isinstance(rpc, LightRpc) is is_light
        assert rpc.is_recording
        serve(rpc)
        spans = sorted(exported(traced, kept), key=lambda span: span.kind, reverse=True)
        assert {span.trace_id.hex() for span in spans} == {rpc.traceparent[3:35]}
        server = spans[-1]
        assert server.kind == server.SPAN_KIND_SERVER
        assert server.span_id.hex() == rpc.traceparent[36:52]
        assert all(span.parent_span_id == server.span_id for span in spans[:-1])
        for span in spans:
            assert span.start_time_unix_nano <= span.end_time_unix_nano
            for field in ("span_id", "trace_id", "start_time_unix_nano", "end_time_unix_nano"):
                span.ClearField(field)
            for event in span.events:
                event.ClearField("time_unix_nano")
        for span in spans[:-1]:
            span.ClearField("parent_span_id")
        found.append(spans)
        traced.provider.shutdown()
    assert found[0] == found[1]


@pytest.mark.parametrize("is_light", [True, False])
def test_the_metadata_for_the_worker_names_the_producer(is_light: bool) -> None:
    kept = Kept(takes_light_spans=is_light)
    traced = Traced(kept)
    caller = [("traceparent", REMOTE.traceparent), ("tracestate", STATE.to_header())]
    rpc = traced.tracing.rpc("shop.Orders.Place", caller, lambda: True)
    metadata = call_pb2.Metadata()
    rpc.publish("orders", metadata)
    rpc.sent()
    (producer,) = exported(traced, kept)
    assert {entry.key: entry.value.decode() for entry in metadata.entries} == {
        "traceparent": f"{REMOTE.traceparent[:36]}{producer.span_id.hex()}-01",
        "tracestate": STATE.to_header(),
    }
    traced.provider.shutdown()


@pytest.mark.parametrize("is_light", [True, False])
@pytest.mark.parametrize("state", ["", STATE.to_header()], ids=["no state", "state"])
def test_the_message_of_an_ephemeral_call_names_the_producer(state: str, is_light: bool) -> None:
    kept = Kept(takes_light_spans=is_light)
    traced = Traced(kept)
    caller = {"traceparent": REMOTE.traceparent, **({"tracestate": state} if state else {})}
    rpc = traced.tracing.rpc("shop.Orders.Place", list(caller.items()), lambda: True)
    member = call_pb2.BatchMember()
    member.metadata.entries.add(key="x-shop", value=b"north")
    rpc.publish_member("orders", member)
    rpc.sent()
    (producer,) = exported(traced, kept)
    traceparent = f"{REMOTE.traceparent[:36]}{producer.span_id.hex()}-01"
    is_short = is_light and not state
    assert trace_of_member(member) == (traceparent, True if is_short else None)
    found = {entry.key: entry.value.decode() for entry in member.metadata.entries}
    in_metadata = {} if is_short else {**caller, "traceparent": traceparent}
    assert found == {"x-shop": "north", **in_metadata}
    traced.provider.shutdown()


@pytest.mark.parametrize("size", [1, 23, 25])
def test_the_trace_of_a_garbled_message_is_not_taken(size: int) -> None:
    member = call_pb2.BatchMember(sampled_trace=bytes(size))
    assert trace_of_member(member) == ("", None)


def ends(attempt: AttemptSpan) -> None:
    attempt.on_end(0)


def refuses(attempt: AttemptSpan) -> None:
    attempt.on_end(9)


def raises(attempt: AttemptSpan) -> None:
    attempt.failed(ValueError("no stock"))
    attempt.on_end(13)


def is_stopped(attempt: AttemptSpan) -> None:
    attempt.on_end(None, "CANCELLED")


def streams(attempt: AttemptSpan) -> None:
    for _ in range(250):
        attempt.on_item()
    attempt.on_end(0)


def names_its_span(attempt: AttemptSpan) -> None:
    context = contextvars.copy_context()
    span = context.run(attempt.run, get_current_span)
    span.update_name("pack an order")
    assert span.get_span_context() == attempt.span_context
    attempt.on_end(0)


@pytest.mark.parametrize("number", [1, 2], ids=["first", "rerun"])
@pytest.mark.parametrize("size", [1, 3], ids=["alone", "batch"])
@pytest.mark.parametrize("is_in_metadata", [True, False], ids=["in metadata", "as text"])
@pytest.mark.parametrize("run", [ends, refuses, raises, is_stopped, streams, names_its_span])
def test_the_spans_of_attempts_are_as_if_they_were_the_sdks(
    run: Callable[[AttemptSpan], None], is_in_metadata: bool, size: int, number: int
) -> None:
    metadata = [("traceparent", LOCAL.traceparent)] if is_in_metadata else []
    sampled = "" if is_in_metadata else LOCAL.traceparent
    found = []
    for is_light in (True, False):
        kept = Kept(takes_light_spans=is_light)
        traced = Traced(kept)
        task = traced.tracing.task(size)
        attempts = [
            task.attempt("shop.Orders.Place", "orders", str(n), number, metadata, "acme", sampled)
            for n in range(size)
        ]
        for attempt in attempts:
            assert isinstance(attempt, LightAttempt) is is_light
            assert attempt.is_sampled
            run(attempt)
        spans = exported(traced, kept)
        named = [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in spans]
        assert named == [attempt.traceparent for attempt in attempts]
        for span, attempt in zip(spans, attempts, strict=True):
            assert attempt.span_context.span_id.to_bytes(8) == span.span_id
            for link in span.links[number - 1 :]:  # to the batch's first attempt
                first = attempts[0].span_context
                assert link.trace_id == first.trace_id.to_bytes(16)
                assert link.span_id == first.span_id.to_bytes(8)
                link.ClearField("trace_id")
                link.ClearField("span_id")
        for span in spans:
            for field in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
                span.ClearField(field)
            if number > 1:
                span.ClearField("trace_id")
            for event in span.events:
                event.ClearField("time_unix_nano")
        found.append(spans)
        traced.provider.shutdown()
    assert found[0] == found[1]


ADDITIONS: dict[str, Callable[[Span], object]] = {
    "attribute": lambda span: span.set_attribute("k", "v"),
    "attributes": lambda span: span.set_attributes({"k": [1.5, 2.5]}),
    "event": lambda span: span.add_event("e", {"k": "v"}, 5),
    "link": lambda span: span.add_link(REMOTE.span_context),
    "name": lambda span: span.update_name("renamed"),
    "status": lambda span: span.set_status(StatusCode.OK),
    "description": lambda span: span.set_status(Status(StatusCode.ERROR, "no stock")),
    "exception": lambda span: span.record_exception(ValueError("no stock"), {"k": "v"}),
    "own attribute": lambda span: span.set_attribute(CALL, "mine"),
    "more than the limit": lambda span: span.set_attributes({f"k{n}": n for n in range(200)}),
}


@pytest.mark.parametrize("name", ADDITIONS)
def test_what_a_handler_adds_is_as_if_the_span_were_the_sdks(name: str) -> None:
    requests = []
    for is_light in (True, False):
        kept = Kept(takes_light_spans=is_light)
        traced = Traced(kept)
        span = make(traced, SHAPES[2], REMOTE, LINKS)
        context, begun_ns = span.get_span_context(), time.time_ns()
        ADDITIONS[name](span)
        assert span.is_recording()
        assert span.get_span_context() == context
        finish(span, {"rpc.response.status_code": "INTERNAL"}, failed=True)
        assert not span.is_recording()
        (message,) = exported(traced, kept)
        assert message.span_id == context.span_id.to_bytes(8)
        assert message.start_time_unix_nano <= begun_ns
        for field in ("span_id", "start_time_unix_nano", "end_time_unix_nano"):
            message.ClearField(field)
        if name == "exception":
            message.events[0].ClearField("time_unix_nano")
        requests.append(kept.requests)
        traced.provider.shutdown()
    assert requests[0] == requests[1]


def test_what_only_the_sdks_spans_have_can_be_read(traced: Traced) -> None:
    span: Any = make(traced, SHAPES[2])
    assert span.name == "process orders"
    assert span.attributes[CALL] == "order-17"
    assert span.status.status_code is StatusCode.UNSET
    assert not hasattr(span, "_nothing")


@pytest.mark.parametrize("name", ADDITIONS)
def test_nothing_can_be_added_after_the_end(name: str, traced: Traced, kept: Kept) -> None:
    span = make(traced, SHAPES[0])
    span.end()
    assert not span.is_recording()
    ADDITIONS[name](span)
    span.end()
    (message,) = exported(traced, kept)
    assert {one.key for one in message.attributes} == {
        *("rpc.system.name", "rpc.method", CALL, "forebay.attempt")
    }
    assert not message.events


def test_a_span_that_threads_add_to_at_once_is_exported_once_with_all_of_it(
    traced: Traced, kept: Kept
) -> None:
    span = make(traced, SHAPES[2])
    together = threading.Barrier(8)

    def add(number: int) -> None:
        together.wait()
        span.set_attribute(f"k{number}", number)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    span.end()
    (message,) = exported(traced, kept)
    assert {f"k{number}" for number in range(8)} <= {one.key for one in message.attributes}


def test_a_handlers_own_spans_go_with_ours(traced: Traced, kept: Kept) -> None:
    ours = make(traced, SHAPES[2])
    with traced.provider.get_tracer("shop").start_as_current_span("look up"):
        pass
    finish(ours, {}, failed=False)
    assert sorted(one.name for one in exported(traced, kept)) == ["look up", "process orders"]
    scopes = [
        (scope.scope.name, [one.name for one in scope.spans])
        for request in kept.requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
    ]
    assert sorted(scopes) == [("forebay", ["process orders"]), ("shop", ["look up"])]


def test_processors_that_are_added_later_get_spans_of_the_sdk(traced: Traced, kept: Kept) -> None:
    before = make(traced, SHAPES[0])
    others = InMemorySpanExporter()
    traced.provider.add_span_processor(SimpleSpanProcessor(others))
    after = make(traced, SHAPES[1])
    for span in (before, after):
        finish(span, {}, failed=False)
    assert [span.name for span in others.get_finished_spans()] == [SHAPES[1].name]
    assert len(exported(traced, kept)) == 2


def test_a_sampler_that_is_not_the_sdks_is_asked(kept: Kept, monkeypatch: Any) -> None:
    monkeypatch.setattr(sdk.sampling, "_get_from_env_or_default", lambda: Unknown(ALWAYS_ON))
    traced = Traced(kept)
    assert not isinstance(make(traced, SHAPES[0]), LightSpan)
    traced.provider.shutdown()


def test_exporters_that_are_not_opentelemetrys_by_grpc_are_left_alone() -> None:
    assert taking_light_spans(OTLPSpanExporter) is LightSpanExporter
    assert taking_light_spans(ByHttp) is ByHttp
