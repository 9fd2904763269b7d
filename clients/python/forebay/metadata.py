"""The metadata keys of a call, and conversion of metadata for storage. Pure.

The docstring of each key has its place (the caller's request, initial or trailing metadata), then
its meaning; `make reference` copies both into docs/metadata.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forebay.v1 import call_pb2

CALL_ID = "forebay-call-id"
"""Request and initial: the call's id. The caller's own (1 to 128 of `A-Za-z0-9._:-`) makes the call
durable; otherwise the gateway makes one. Of an ephemeral call it is in trailing metadata."""
RESUME_FROM = "forebay-resume-from"
"""Request: the number of items that the caller has already received, not counting transient ones.
Default 0; needs `forebay-call-id`."""
ON_DISCONNECT = "forebay-on-disconnect"
"""Request: `cancel` or `detach`, if the route lets a caller choose."""
PRIORITY = "forebay-priority"
"""Request: 0 to 9, up to the route's `max_priority`; 9 is the most urgent. Default: its
`priority`."""
TRACEPARENT = "traceparent"
"""Request: W3C trace context, passed to the handler."""
TRACESTATE = "tracestate"
"""Request: W3C trace state, passed to the handler."""
ATTACHED = "forebay-attached"
"""Initial: the state of the call when this caller attached: `new`, `running` or `finished`."""
QUEUE_MS = "forebay-queue-ms"
"""Trailing: how long the call waited for a worker, in ms."""
RUN_MS = "forebay-run-ms"
"""Trailing: how long the last attempt ran, in ms."""
ATTEMPTS = "forebay-attempts"
"""Trailing: the number of attempts."""
OMITTED = "forebay-omitted"
"""Initial and trailing: how many metadata entries and error details of the handler were left out
because the metadata would be over 8 KiB, the limit of gRPC clients. Unset: none."""

_KEY = re.compile(r"[a-z0-9_.-]+")

Pairs = Sequence[tuple[str, str | bytes]]


def call_metadata(call_id: str | None) -> tuple[tuple[str, str], ...]:
    """The request metadata that names a call; empty if the caller gives no id."""
    return () if call_id is None else ((CALL_ID, call_id),)


def to_pairs(metadata: call_pb2.Metadata) -> list[tuple[str, str | bytes]]:
    """Stored metadata as gRPC expects it: bytes for keys that end in "-bin", text for others."""
    return [
        (
            entry.key,
            entry.value if entry.key.endswith("-bin") else entry.value.decode("ascii", "replace"),
        )
        for entry in metadata.entries
    ]


def from_pairs(pairs: Iterable[tuple[str, str | bytes]]) -> call_pb2.Metadata:
    """Metadata of gRPC for storage; raises ValueError if gRPC can't send it."""
    metadata = call_pb2.Metadata()
    for key, value in pairs:
        text = value if isinstance(value, str) else ""
        if not _KEY.fullmatch(key) or not (text.isascii() and text.isprintable()):
            raise ValueError(
                f"metadata {key!r}: expected a key of a-z 0-9 _ . - and a value of printable ASCII"
            )
        metadata.entries.add(key=key, value=value.encode() if isinstance(value, str) else value)
    return metadata
