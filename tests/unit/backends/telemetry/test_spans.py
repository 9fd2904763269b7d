"""Sampling, trust, and the W3C trace context, without an exporter."""

from __future__ import annotations

import contextvars
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased
from opentelemetry.trace import SpanContext

from forebay.v1 import call_pb2
from forebay_backends.telemetry.call_labels import about_call, unsampled_traceparent
from forebay_backends.telemetry.rpc_span import RpcSpan
from forebay_backends.telemetry.spans import Tracing
from forebay_backends.telemetry.trace_context import remote_context
from forebay_gateway.rpc.uuid7 import uuid7

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
LOWEST_ID = f"{1:032x}"
"""`TraceIdRatioBased` samples it at any ratio over 0."""


class Traced:
    """A `Tracing` and what it has exported."""

    def __init__(self, root: Any = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ParentBased(root))
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.provider = provider
        self.tracing = Tracing(provider)

    @property
    def spans(self) -> list[Any]:
        return list(self._exporter.get_finished_spans())


def context(flags: str, trace_id: str = TRACE_ID) -> list[tuple[str, str | bytes]]:
    return [("traceparent", f"00-{trace_id}-00f067aa0ba902b7-{flags}"), ("tracestate", "a=1")]


def entries(metadata: call_pb2.Metadata) -> dict[str, str]:
    return {entry.key: entry.value.decode() for entry in metadata.entries}


@pytest.mark.parametrize(
    ("flags", "root", "trusted", "sampled"),
    [
        ("01", ALWAYS_OFF, True, True),
        ("01", ALWAYS_OFF, False, False),
        ("00", ALWAYS_ON, True, False),
        ("00", ALWAYS_ON, False, True),
    ],
)
def test_the_sampled_flag_of_a_caller_counts_if_it_is_trusted(
    flags: str, root: Any, trusted: bool, sampled: bool
) -> None:
    rpc = Traced(root).tracing.rpc("shop.Orders.Place", context(flags), lambda: trusted)
    assert rpc.is_recording is sampled
    assert rpc.traceparent[3:35] == TRACE_ID, "the trace is the caller's in any case"
    assert rpc.traceparent.endswith("01" if sampled else "00")


def test_an_untrusted_caller_can_choose_no_id_that_is_always_sampled() -> None:
    tracing = Traced(TraceIdRatioBased(1e-9)).tracing
    given = context("01", LOWEST_ID)
    assert not tracing.rpc("shop.Orders.Place", given, lambda: False).is_recording


def test_the_trace_state_of_a_caller_is_kept_and_baggage_is_not() -> None:
    traced = Traced()
    rpc = traced.tracing.rpc("shop.Orders.Place", context("01"), lambda: False)
    baggage = call_pb2.Metadata()
    baggage.entries.add(key="x-tenant", value=b"acme")
    rpc.publish("orders", baggage)
    published = entries(baggage)
    rpc.sent()
    rpc.end("a", "OK")
    producer, server = traced.spans
    assert producer.parent.span_id == server.context.span_id
    assert published == {
        "x-tenant": "acme",
        "traceparent": f"00-{TRACE_ID}-{producer.context.span_id:016x}-01",
        "tracestate": "a=1",
    }


def test_an_unsampled_call_carries_that_to_the_worker_which_makes_no_span() -> None:
    traced = Traced(ALWAYS_OFF)
    rpc = traced.tracing.rpc("shop.Orders.Place", (), lambda: True)
    metadata = call_pb2.Metadata()
    with about_call("a") as labels:
        rpc.publish("orders", metadata)
    published = entries(metadata)
    assert published == {"traceparent": labels.traceparent}
    worker = Traced(ALWAYS_ON)
    attempt = worker.tracing.task(1).attempt(
        "shop.Orders.Place", "orders", "a", 1, list(published.items())
    )
    assert not attempt.is_sampled
    attempt.on_end(0)
    assert worker.spans == []
    assert attempt.traceparent == labels.traceparent


def test_the_unsampled_trace_of_an_ephemeral_call_has_its_id() -> None:
    rpc = Traced(ALWAYS_OFF).tracing.rpc("shop.Orders.Place", (), lambda: True)
    call_id = uuid7()
    member = call_pb2.BatchMember(call_id=call_id)
    with about_call(call_id) as labels:
        rpc.publish_member("orders", member)
    assert member == call_pb2.BatchMember(call_id=call_id, begins_unsampled_trace=True)
    assert labels.trace_id == UUID(call_id).hex
    assert labels.span_id == labels.trace_id[16:]
    worker = Traced(ALWAYS_ON)
    attempt = worker.tracing.task(1).unsampled(unsampled_traceparent(call_id))

    def handler() -> SpanContext:
        with worker.provider.get_tracer("shop").start_as_current_span("its own") as span:
            return span.get_span_context()

    own = contextvars.copy_context().run(attempt.run, handler)
    assert own.trace_id == UUID(call_id).int
    assert worker.spans == []


def test_durable_calls_that_begin_unsampled_traces_have_different_ones() -> None:
    traced = Traced(ALWAYS_OFF)
    published = []
    for _ in range(2):
        metadata = call_pb2.Metadata()
        rpc = traced.tracing.rpc("shop.Orders.Place", (), lambda: True)
        rpc.publish("orders", metadata)
        published.append(entries(metadata)["traceparent"])
    assert len({context[3:35] for context in published}) == 2
    assert len({context[36:52] for context in published}) == 2


@pytest.mark.parametrize(("flags", "count"), [("01", 1), ("00", 0)])
def test_an_rpc_that_attaches_to_a_call_has_a_link_if_the_call_is_sampled(
    flags: str, count: int
) -> None:
    traced = Traced()
    rpc = traced.tracing.rpc("shop.Orders.Place", (), lambda: True)
    (_, call), *_ = context(flags)
    rpc.attached(str(call))
    rpc.end("a", "OK")
    (server,) = traced.spans
    assert len(server.links) == count


@pytest.mark.parametrize(("flags", "count"), [("01", 1), ("00", 0)])
def test_a_later_attempt_is_sampled_as_its_call_was_and_has_its_own_trace(
    flags: str, count: int
) -> None:
    traced = Traced(ALWAYS_OFF if count else ALWAYS_ON)
    attempt = traced.tracing.task(1).attempt("shop.Orders.Place", "orders", "a", 2, context(flags))
    attempt.on_end(14)
    assert len(traced.spans) == count
    for span in traced.spans:
        assert span.parent is None
        assert f"{span.context.trace_id:032x}" != TRACE_ID
        assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE_ID]
        assert dict(span.attributes)["forebay.call_id"] == "a"


def test_spans_name_the_tenant_where_there_is_one() -> None:
    traced = Traced()
    traced.tracing.rpc("shop.Orders.Place", (), lambda: True).end("a", "OK", "acme")
    task = traced.tracing.task(1)
    task.attempt("shop.Orders.Place", "orders", "a", 1, (), "acme").on_end(0)
    task.attempt("shop.Orders.Place", "orders", "a", 1, ()).on_end(0)
    tenants = [dict(span.attributes).get("forebay.tenant") for span in traced.spans]
    assert tenants == ["acme", "acme", None]


def test_a_call_that_was_never_sent_has_a_failed_producer() -> None:
    traced = Traced()
    rpc = traced.tracing.rpc("shop.Orders.Place", (), lambda: True)
    rpc.publish("orders", call_pb2.Metadata())
    rpc.end("a", "UNAVAILABLE")
    assert [span.status.status_code.name for span in traced.spans] == ["ERROR", "ERROR"]


def test_a_later_version_of_the_trace_context_is_read_as_far_as_it_is_known() -> None:
    remote = remote_context([("traceparent", f"cc-{TRACE_ID}-00f067aa0ba902b7-01-more")])
    assert remote is not None
    assert remote.traceparent == f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def test_the_handlers_current_span_is_the_attempts_and_is_not_left_behind() -> None:
    attempt = Traced().tracing.task(1).attempt("shop.Orders.Place", "orders", "a", 1, ())
    current = contextvars.copy_context().run(
        attempt.run, lambda: trace.get_current_span().get_span_context()
    )
    assert f"{current.span_id:016x}" == attempt.traceparent[36:52]
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [("traceparent", "00-0-0-01")],
        [("traceparent", f"00-{'0' * 32}-00f067aa0ba902b7-01")],
        [("traceparent", b"\xff")],
        [*context("01"), *context("01")],
        [("tracestate", "a=1")],
        [("traceparent", f"ff-{TRACE_ID}-00f067aa0ba902b7-01")],
        [("traceparent", f"00-{TRACE_ID}-00f067aa0ba902b7-01-more")],
        [("traceparent", f"00-{TRACE_ID.upper()}-00f067aa0ba902b7-01")],
    ],
)
def test_an_invalid_trace_context_counts_as_none(pairs: list[tuple[str, str | bytes]]) -> None:
    assert remote_context(pairs) is None
    rpc: RpcSpan = Traced().tracing.rpc("shop.Orders.Place", pairs, lambda: True)
    assert rpc.is_recording


@pytest.mark.parametrize("version", ["00", "cc"])
def test_a_handlers_own_spans_of_an_unsampled_call_are_in_its_trace_and_unsampled(
    version: str,
) -> None:
    traced = Traced()
    (key, value), state = context("00")
    metadata = [(key, version + str(value)[2:]), state]
    attempt = traced.tracing.task(1).attempt("shop.Orders.Place", "orders", "a", 1, metadata)

    def handler() -> SpanContext:
        with traced.provider.get_tracer("shop").start_as_current_span("its own") as span:
            return span.get_span_context()

    own = contextvars.copy_context().run(attempt.run, handler)
    assert f"{own.trace_id:032x}" == TRACE_ID == attempt.traceparent[3:35]
    assert own.trace_state.get("a") == "1"
    assert traced.spans == []


@pytest.mark.parametrize("bad", ["0" * 32, "x" * 32])
def test_an_attempt_without_a_valid_context_is_sampled_as_if_its_trace_began(bad: str) -> None:
    metadata = [("traceparent", f"00-{bad}-00f067aa0ba902b7-00")]
    attempt = Traced().tracing.task(1).attempt("shop.Orders.Place", "orders", "a", 1, metadata)
    assert attempt.is_sampled
