"""The W3C trace context in metadata: <https://www.w3.org/TR/trace-context/>."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    TraceState,
)

from forebay.metadata import TRACEPARENT, TRACESTATE, trace_parts
from forebay.v1 import call_pb2

Pairs = Iterable[tuple[str, str | bytes]]

_UNSAMPLED = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
"""A valid `traceparent` of version 00 whose last bit, `sampled`, is not set."""


def remote_context(metadata: Pairs) -> SpanContext | None:
    """The trace context in metadata; None if there is none, or it is invalid."""
    parents, states = [], []
    for key, value in metadata:
        if key == TRACEPARENT:
            parents.append(value)
        elif key == TRACESTATE and isinstance(value, str):
            states.append(value)
    parts = _parts(parents)
    if parts is None:
        return None
    trace_id, span_id, flags = parts
    return SpanContext(
        int(trace_id, 16),
        int(span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(int(flags, 16)),
        trace_state=TraceState.from_header(states) if states else None,
    )


def unsampled(metadata: Pairs) -> str:
    """The trace context in metadata if it says that its call is not sampled; else empty.

    Most processes trace few of their calls, so this is quick where `remote_context` is not.
    """
    found = [value for key, value in metadata if key == TRACEPARENT]
    if len(found) == 1 and isinstance(found[0], str) and _UNSAMPLED.fullmatch(found[0]):
        return found[0]
    parts = _parts(found)
    if parts is None or int(parts[2], 16) & TraceFlags.SAMPLED:
        return ""
    return str(found[0])


class UnsampledSpan(NonRecordingSpan):
    """A remote span whose context is in metadata, and parsed when it is asked for."""

    def __init__(self, metadata: Pairs) -> None:
        self._metadata = metadata

    def get_span_context(self) -> SpanContext:
        return remote_context(self._metadata) or INVALID_SPAN_CONTEXT


def traceparent(context: SpanContext) -> str:
    """The value of the header `traceparent`."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags & 1:02x}"


def put_context(metadata: call_pb2.Metadata, parent: str, state: TraceState | None) -> None:
    """Replaces the trace context in metadata; `parent` is the header `traceparent`."""
    entries = metadata.entries
    for index in range(len(entries) - 1, -1, -1):
        if entries[index].key in (TRACEPARENT, TRACESTATE):
            del entries[index]
    entries.add(key=TRACEPARENT, value=parent.encode())
    if state:
        entries.add(key=TRACESTATE, value=state.to_header().encode())


def _parts(parents: Sequence[str | bytes]) -> tuple[str, str, str] | None:
    """Trace, span and flags of the only header `traceparent`; None if it is invalid."""
    if len(parents) != 1 or not isinstance(parents[0], str):
        return None
    parts = trace_parts(parents[0])
    has_ids = parts is not None and parts[0].strip("0") and parts[1].strip("0")
    return parts if has_ids else None
