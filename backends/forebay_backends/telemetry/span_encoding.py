"""Encodes spans as OTLP messages. Pure.

The encoding of a protobuf message is that of its fields, one after another, in any order; of a
field that comes twice, the last one counts (<https://protobuf.dev/programming-guides/encoding/>).
So the fields that all spans of a shape have are encoded once, by protobuf, and the others follow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, SpanFlags, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message
from opentelemetry.sdk import trace as sdk
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind

from forebay_backends.telemetry.span_shapes import Attributes, Shape
from forebay_backends.telemetry.trace_context import ParentContext

_LOCAL = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_REMOTE = _LOCAL | SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
_KINDS = {
    SpanKind.SERVER: Message.SPAN_KIND_SERVER,
    SpanKind.PRODUCER: Message.SPAN_KIND_PRODUCER,
    SpanKind.CONSUMER: Message.SPAN_KIND_CONSUMER,
}
_VARINT, _FIXED64, _LENGTH_DELIMITED = 0, 1, 2
"""Types of encoded fields."""
_CACHED = 512
"""How many parts of each kind are kept: few keys, lengths and numbers come again and again."""


class _Flags:
    sampled = True


class _Sampled:
    """All that OpenTelemetry's processor looks for in the context of a span that has ended."""

    trace_flags = _Flags


class EncodedSpan(bytes):
    """A sampled span that has ended, as a field of the message `ScopeSpans`."""

    context = _Sampled


class RequestEncoder:
    """Encodes export requests with spans of one resource and scope."""

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        example = sdk.ReadableSpan(
            "", SpanContext(1, 1, False), resource=resource, instrumentation_scope=scope
        )
        (envelope,) = encode_spans([example]).resource_spans
        (scope_spans,) = envelope.scope_spans
        del scope_spans.spans[:]
        del envelope.scope_spans[:]
        self._scope = scope_spans.SerializeToString()
        self._resource = envelope.SerializeToString()

    def request(self, spans: Iterable[EncodedSpan]) -> bytes:
        """An encoded `ExportTraceServiceRequest`."""
        of_scope = _nested(_SCOPE_SPANS, self._scope + b"".join(spans))
        return _nested(_RESOURCE_SPANS, self._resource + of_scope)


class SpanEncoder:
    """Encodes spans."""

    def __init__(self) -> None:
        self._templates: dict[Shape, bytes] = {}
        self._last_links: tuple[Sequence[Link], bytes] = (), b""

    def span(
        self,
        shape: Shape,
        trace_id: bytes,
        span_id: bytes,
        parent: ParentContext | None,
        begun_ns: int,
        ended_ns: int,
        attributes: Attributes,
        links: Sequence[Link] = (),
        *,
        failed: bool,
    ) -> EncodedSpan:
        """Encodes a sampled span; its ids have 16 and 8 bytes, times are in ns since 1970."""
        fields = [
            self._templates.get(shape) or self._template(shape),
            _IDS_AND_TIMES.pack(
                _TRACE_ID, trace_id, _SPAN_ID, span_id, _START_TIME, begun_ns, _END_TIME, ended_ns
            ),
        ]
        if parent is not None:
            fields += _PARENT_SPAN_ID, bytes.fromhex(parent.traceparent[36:52])
            if parent.is_remote:
                fields.append(_REMOTE_FLAGS)
            if parent.state:
                fields.append(_nested(_TRACE_STATE, parent.state.to_header().encode()))
        if attributes:
            _add_attributes(fields, _ATTRIBUTES, attributes)
        if links:
            fields.append(self._links(links))
        if failed:
            fields.append(_FAILED)
        return EncodedSpan(_nested(_SPANS, b"".join(fields)))

    def _template(self, shape: Shape) -> bytes:
        """The fields that all spans of that shape have."""
        common = Message(name=shape.name, kind=_KINDS[shape.kind], flags=_LOCAL, status=Status())
        fields = [common.SerializeToString()]
        _add_attributes(fields, _ATTRIBUTES, shape.attributes)
        return self._templates.setdefault(shape, b"".join(fields))

    def _links(self, links: Sequence[Link]) -> bytes:
        """The calls of a batch have the same links."""
        last, encoded = self._last_links
        if last is not links:
            encoded = b"".join(_nested(_LINKS, _link(link)) for link in links)
            self._last_links = links, encoded
        return encoded


def _link(link: Link) -> bytes:
    message = Message.Link(
        trace_id=link.context.trace_id.to_bytes(16),
        span_id=link.context.span_id.to_bytes(8),
        flags=_REMOTE if link.context.is_remote else _LOCAL,
    )
    attributes: Any = link.attributes or {}  # our own, which are plain text
    fields = [message.SerializeToString()]
    _add_attributes(fields, _LINK_ATTRIBUTES, attributes)
    return b"".join(fields)


def _add_attributes(fields: list[bytes], tag: bytes, attributes: Attributes) -> None:
    for key, value in attributes.items():
        if isinstance(value, str):
            text = value.encode()
            fields += _before_text(tag, key, len(text)), text
        else:
            fields.append(_number(tag, key, value))


@lru_cache(_CACHED)
def _before_text(tag: bytes, key: str, length: int) -> bytes:
    """The field of an attribute with a text of that length in UTF-8, up to the text."""
    text = _nested(_STRING_VALUE, bytes(length))
    field = _nested(tag, _nested(_KEY, key.encode()) + _nested(_VALUE, text))
    return field[: len(field) - length]


@lru_cache(_CACHED)
def _number(tag: bytes, key: str, value: int) -> bytes:
    """The field of an attribute with a number that is not negative."""
    number = _INT_VALUE + _varint(value)
    return _nested(tag, _nested(_KEY, key.encode()) + _nested(_VALUE, number))


def _tag(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _nested(tag: bytes, payload: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return tag + _varint(len(payload)) + payload


@lru_cache(_CACHED)
def _varint(number: int) -> bytes:
    """Encodes a number that is not negative."""
    encoded = bytearray()
    while number > 127:
        encoded.append(number & 127 | 128)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


_RESOURCE_SPANS = _tag(ExportTraceServiceRequest.RESOURCE_SPANS_FIELD_NUMBER, _LENGTH_DELIMITED)
_SCOPE_SPANS = _tag(ResourceSpans.SCOPE_SPANS_FIELD_NUMBER, _LENGTH_DELIMITED)
_SPANS = _tag(ScopeSpans.SPANS_FIELD_NUMBER, _LENGTH_DELIMITED)
_ATTRIBUTES = _tag(Message.ATTRIBUTES_FIELD_NUMBER, _LENGTH_DELIMITED)
_LINK_ATTRIBUTES = _tag(Message.Link.ATTRIBUTES_FIELD_NUMBER, _LENGTH_DELIMITED)
_LINKS = _tag(Message.LINKS_FIELD_NUMBER, _LENGTH_DELIMITED)
_TRACE_STATE = _tag(Message.TRACE_STATE_FIELD_NUMBER, _LENGTH_DELIMITED)
_KEY = _tag(KeyValue.KEY_FIELD_NUMBER, _LENGTH_DELIMITED)
_VALUE = _tag(KeyValue.VALUE_FIELD_NUMBER, _LENGTH_DELIMITED)
_STRING_VALUE = _tag(AnyValue.STRING_VALUE_FIELD_NUMBER, _LENGTH_DELIMITED)
_INT_VALUE = _tag(AnyValue.INT_VALUE_FIELD_NUMBER, _VARINT)

# Fields of one length, up to their values.
_TRACE_ID = _tag(Message.TRACE_ID_FIELD_NUMBER, _LENGTH_DELIMITED) + b"\x10"
_SPAN_ID = _tag(Message.SPAN_ID_FIELD_NUMBER, _LENGTH_DELIMITED) + b"\x08"
_PARENT_SPAN_ID = _tag(Message.PARENT_SPAN_ID_FIELD_NUMBER, _LENGTH_DELIMITED) + b"\x08"
_START_TIME = _tag(Message.START_TIME_UNIX_NANO_FIELD_NUMBER, _FIXED64)
_END_TIME = _tag(Message.END_TIME_UNIX_NANO_FIELD_NUMBER, _FIXED64)
_IDS_AND_TIMES = Struct("<2s16s2s8scQcQ")

_REMOTE_FLAGS = Message(flags=_REMOTE).SerializeToString()
_FAILED = Message(status=Status(code=Status.STATUS_CODE_ERROR)).SerializeToString()
