"""The metadata keys of a call, and metadata as it is stored. Pure.

The keys are those of the contract: a caller sends the first four, and finds the
others in initial and trailing metadata.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forebay.v1 import call_pb2

CALL_ID = "forebay-call-id"
RESUME_FROM = "forebay-resume-from"
ON_DISCONNECT = "forebay-on-disconnect"
PRIORITY = "forebay-priority"
ATTACHED = "forebay-attached"
QUEUE_MS = "forebay-queue-ms"
RUN_MS = "forebay-run-ms"
ATTEMPTS = "forebay-attempts"

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
