"""The metadata keys of a call, and metadata as it is stored. Pure.

The keys are those of the contract. Each says where it goes (the caller's request, initial or
trailing metadata), then what it is; docs/metadata.md is made of that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forebay.v1 import call_pb2

CALL_ID = "forebay-call-id"
"""Request and initial: the call's id, the caller's own (1 to 128 of `A-Za-z0-9._:-`), which makes
the call durable, or one that the gateway makes; of an ephemeral call, in trailing metadata."""
RESUME_FROM = "forebay-resume-from"
"""Request: the number of lasting items seen already. Default 0; needs `forebay-call-id`."""
ON_DISCONNECT = "forebay-on-disconnect"
"""Request: `cancel` or `detach`, where the route lets a caller choose."""
PRIORITY = "forebay-priority"
"""Request: 0 to 9, 9 the most urgent, up to the route's `max_priority`. Default: its `priority`."""
TRACEPARENT = "traceparent"
"""Request: W3C trace context, handed on to the handler."""
TRACESTATE = "tracestate"
"""Request: likewise."""
ATTACHED = "forebay-attached"
"""Initial: `new`, `running` or `finished`: what the call was when this caller attached to it."""
QUEUE_MS = "forebay-queue-ms"
"""Trailing: how long the call waited for a worker, in ms."""
RUN_MS = "forebay-run-ms"
"""Trailing: how long its last attempt ran, in ms."""
ATTEMPTS = "forebay-attempts"
"""Trailing: how many attempts there were."""

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
