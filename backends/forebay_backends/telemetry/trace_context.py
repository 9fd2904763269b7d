"""The W3C trace context in metadata: <https://www.w3.org/TR/trace-context/>."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from opentelemetry.trace import (
    Span,
    SpanContext,
    TraceFlags,
    TraceState,
)

from forebay.metadata import TRACEPARENT, TRACESTATE, trace_parts
from forebay.v1 import call_pb2

Pairs = Iterable[tuple[str, str | bytes]]

_VALID = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class ParentContext(Protocol):
    """The context of a span, as far as those below it need it."""

    @property
    def traceparent(self) -> str:
        """Of version 00."""

    @property
    def state(self) -> TraceState | None: ...

    @property
    def is_sampled(self) -> bool: ...

    @property
    def is_remote(self) -> bool:
        """Whether the span is another process's."""

    @property
    def span_context(self) -> SpanContext:
        """As OpenTelemetry has it."""


class TraceContext(NamedTuple):
    """The context of a span, as text: it is mostly passed on, and seldom parsed."""

    traceparent: str
    """Of version 00."""
    state: TraceState | None = None
    is_remote: bool = True

    @property
    def is_sampled(self) -> bool:
        return self.traceparent[-1] in "13579bdf"

    def unsampled_child(self, span_id: int) -> TraceContext:
        """The context of a span of this process below this one, which is not sampled."""
        text = f"{self.traceparent[:36]}{span_id:016x}-00"
        return TraceContext(text, self.state, is_remote=False)

    @property
    def span_context(self) -> SpanContext:
        """As OpenTelemetry has it."""
        _, trace_id, span_id, flags = self.traceparent.split("-")
        return SpanContext(
            int(trace_id, 16),
            int(span_id, 16),
            is_remote=self.is_remote,
            trace_flags=TraceFlags(int(flags, 16)),
            trace_state=self.state,
        )


class OwnContext:
    """The context of a sampled span of this process, for its class to extend."""

    traceparent: str
    state: TraceState | None
    is_sampled = True
    is_remote = False

    @property
    def span_context(self) -> SpanContext:
        return TraceContext(self.traceparent, self.state, is_remote=False).span_context


def is_valid(traceparent: str) -> bool:
    """Whether it is a valid `traceparent` of version 00."""
    return _VALID.fullmatch(traceparent) is not None


def child_context(traceparent: str, parent: ParentContext | None) -> TraceContext:
    """The context of a span of this process, below `parent` if there is one."""
    return TraceContext(traceparent, None if parent is None else parent.state, is_remote=False)


def trace_id_of(traceparent: str) -> int:
    return int(traceparent[3:35], 16)


def remote_context(metadata: Pairs) -> TraceContext | None:
    """The trace context in metadata; None if there is none, or it is invalid."""
    text, states = None, []
    for key, value in metadata:
        if key == TRACEPARENT:
            if text is not None or not isinstance(value, str):
                return None
            text = value
        elif key == TRACESTATE and isinstance(value, str):
            states.append(value)
    if text is None:
        return None
    if not is_valid(text):
        parts = trace_parts(text)
        text = "" if parts is None else "00-{}-{}-{}".format(*parts)
        if not is_valid(text):
            return None
    return TraceContext(text, TraceState.from_header(states) if states else None)


def own_context(
    trace_id: int, span_id: int, *, is_sampled: bool, state: TraceState | None = None
) -> TraceContext:
    """The context of a span of this process."""
    text = f"00-{trace_id:032x}-{span_id:016x}-{is_sampled:02x}"
    return TraceContext(text, state, is_remote=False)


def context_of(span: Span) -> TraceContext:
    own = span.get_span_context()
    return own_context(
        *(own.trace_id, own.span_id),
        is_sampled=own.trace_flags.sampled,
        state=own.trace_state,
    )


def add_context(metadata: call_pb2.Metadata, traceparent: str, state: TraceState | None) -> None:
    """Adds a trace context to metadata that has none."""
    metadata.entries.add(key=TRACEPARENT, value=traceparent.encode())
    if state:
        metadata.entries.add(key=TRACESTATE, value=state.to_header().encode())
