"""The spans of a sampled RPC as light spans; see `light_spans.py`."""

from __future__ import annotations

import time

from opentelemetry.trace import Span

from forebay.v1 import call_pb2
from forebay_backends.telemetry.item_events import ItemEvents
from forebay_backends.telemetry.light_spans import LightSpans
from forebay_backends.telemetry.rpc_span import RpcSpan, RpcSpans, end_attributes, sampled_call
from forebay_backends.telemetry.server_faults import SERVER_FAULTS
from forebay_backends.telemetry.span_fields import LINK, add_item, end_span
from forebay_backends.telemetry.span_shapes import Attributes, Shape, producer_shape, server_shape
from forebay_backends.telemetry.trace_context import (
    OwnContext,
    ParentContext,
    add_context,
    child_context,
)

_NONE: Attributes = {}


class LightRpc(OwnContext, RpcSpan):
    """The SERVER span of one RPC and the PRODUCER span of the call that it makes, in one object.

    The RPC's own context, which the PRODUCER span has as its parent.
    """

    is_recording = True
    _producer = 0
    """The id of the PRODUCER span while it is open."""
    _grown: Span | None = None
    _items: ItemEvents | None = None

    def __init__(
        self, spans: LightSpans, shape: Shape, traceparent: str, parent: ParentContext | None
    ) -> None:
        self.traceparent = traceparent
        self._trace_id = bytes.fromhex(traceparent[3:35])
        self.state = None if parent is None else parent.state
        self._spans = spans
        self._shape = shape
        self._parent = parent
        self._begun_ns = time.time_ns()

    def publish(self, queue: str, metadata: call_pb2.Metadata) -> None:
        """Starts the PRODUCER span, whose context goes to the worker."""
        self._start_producer(queue)
        text = f"{self.traceparent[:36]}{self._producer:016x}-01"
        add_context(metadata, text, self.state)

    def publish_member(self, queue: str, member: call_pb2.BatchMember) -> None:
        if self.state:
            self.publish(queue, member.metadata)
            return
        self._start_producer(queue)
        member.sampled_trace = self._trace_id + self._producer.to_bytes(8)

    def _start_producer(self, queue: str) -> None:
        self._queue = queue
        self._published_ns = time.time_ns()
        self._producer = self._spans.new_span_id()

    def sent(self) -> None:
        if self._producer:
            self._end_producer(failed=False)

    def _end_producer(self, *, failed: bool) -> None:
        shape, span_id = producer_shape(self._queue), self._producer.to_bytes(8)
        begun_ns, self._producer = self._published_ns, 0
        self._spans.end(shape, self._trace_id, span_id, self, begun_ns, _NONE, failed=failed)

    def attached(self, call: str) -> None:
        self._producer = 0  # not ended, so not exported: nothing was sent
        linked = sampled_call(call)
        if linked is not None:
            self._server().add_link(linked, {LINK: "call"})

    def on_response(self) -> None:
        self._items = add_item(self._server(), self._items)

    def _server(self) -> Span:
        """The SERVER span as one of the SDK, which can have events and links."""
        if self._grown is None:
            self._grown = self._spans.grown(self._shape, self, self._parent, self._begun_ns, _NONE)
        return self._grown

    def end(self, call_id: str, code: str, tenant: str = "") -> None:
        if self._producer:
            self._end_producer(failed=True)
        attributes = end_attributes(call_id, code, tenant)
        if self._grown is not None:
            end_span(self._grown, self._items, code, attributes)
            return
        self._spans.end(
            self._shape,
            self._trace_id,
            bytes.fromhex(self.traceparent[36:52]),
            self._parent,
            self._begun_ns,
            attributes,
            failed=code in SERVER_FAULTS,
        )


class LightRpcSpans(RpcSpans):
    """Starts the spans of RPCs as light ones, as long as the provider takes them."""

    def __init__(self, spans: LightSpans) -> None:
        super().__init__(spans)
        self._light = spans

    def start(self, method: str, parent: ParentContext | None, drawn: int | None) -> RpcSpan:
        if not self._light.are_taken:
            return super().start(method, parent, drawn)
        traceparent = self._light.new_context(parent, drawn)
        if traceparent.endswith("01"):
            return LightRpc(self._light, server_shape(method), traceparent, parent)
        return RpcSpan(child_context(traceparent, parent))
