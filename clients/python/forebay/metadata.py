"""The metadata keys of a call, and metadata as it is stored. Pure.

The keys are those of the contract. Each docstring gives the place (request, initial or trailing
metadata), then the meaning; docs/metadata.md is generated from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forebay.v1 import call_pb2

CALL_ID = "forebay-call-id"
"""Request and initial: the call's id. A caller's own id (1 to 128 of `A-Za-z0-9._:-`) makes the
call durable; otherwise the gateway makes one. Ephemeral calls have it in trailing metadata."""
RESUME_FROM = "forebay-resume-from"
"""Request: the number of lasting items already received. Default 0; needs `forebay-call-id`."""
ON_DISCONNECT = "forebay-on-disconnect"
"""Request: `cancel` or `detach`, if the route lets the caller choose."""
PRIORITY = "forebay-priority"
"""Request: 0 to 9, up to the route's `max_priority`; 9 is the most urgent. Default: its
`priority`."""
TRACEPARENT = "traceparent"
"""Request: W3C trace context, passed to the handler."""
TRACESTATE = "tracestate"
"""Request: W3C trace context, passed to the handler."""
ATTACHED = "forebay-attached"
"""Initial: the state of the call when this caller attached: `new`, `running` or `finished`."""
QUEUE_MS = "forebay-queue-ms"
"""Trailing: how long the call waited for a worker, in ms."""
RUN_MS = "forebay-run-ms"
"""Trailing: how long the last attempt ran, in ms."""
ATTEMPTS = "forebay-attempts"
"""Trailing: the number of attempts."""

_KEY = re.compile(r"[a-z0-9_.-]+")

Pairs = Sequence[tuple[str, str | bytes]]


def to_pairs(metadata: call_pb2.Metadata) -> list[tuple[str, str | bytes]]:
    """Stored metadata as gRPC takes it: bytes under "-bin", text elsewhere."""
    return [
        (
            entry.key,
            entry.value if entry.key.endswith("-bin") else entry.value.decode("ascii", "replace"),
        )
        for entry in metadata.entries
    ]


def from_pairs(pairs: Iterable[tuple[str, str | bytes]]) -> call_pb2.Metadata:
    """GRPC's metadata as it is stored; raises ValueError for what gRPC can't carry."""
    metadata = call_pb2.Metadata()
    for key, value in pairs:
        text = value if isinstance(value, str) else ""
        if not _KEY.fullmatch(key) or not (text.isascii() and text.isprintable()):
            raise ValueError(
                f"metadata {key!r}: keys are of a-z 0-9 _ . -, text is printable ASCII"
            )
        metadata.entries.add(key=key, value=value.encode() if isinstance(value, str) else value)
    return metadata
