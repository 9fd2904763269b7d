"""The metadata keys of a call, and conversion of metadata for storage. Pure.

The docstring of each key has its place (the caller's request, initial or trailing metadata), then
its meaning; `make reference` copies both into docs/metadata.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence, Sized

from forebay.v1 import call_pb2

CALL_ID = "forebay-call-id"
"""Request and initial: the call's id. The caller's own (1 to 128 of `A-Za-z0-9._:-`) makes the call
durable; otherwise the gateway makes one. For an ephemeral call it is in trailing metadata."""
RESUME_FROM = "forebay-resume-from"
"""Request: the number of items that the caller has already received, not counting transient ones.
Default 0; needs `forebay-call-id`."""
ON_DISCONNECT = "forebay-on-disconnect"
"""Request: `cancel` or `detach`, if the route lets a caller choose."""
PRIORITY = "forebay-priority"
"""Request: 0 to 9, up to the route's `max_priority`; 9 is the most urgent. Default: its
`priority`."""
START_AFTER = "forebay-start-after"
"""Request: how long after it was accepted the call starts, such as `10m`, `1h30m` or `2.5s`; at
most 30 days. For durable calls with one request, and plain tasks."""
START_AT = "forebay-start-at"
"""Request: when the call starts, in RFC 3339, such as `2026-01-31T08:00:00+01:00`; a time that has
passed: at once."""
TRACEPARENT = "traceparent"
"""Request: W3C trace context. The handler gets the caller's or, if the gateway traces calls, that
of the call's own span."""
TRACESTATE = "tracestate"
"""Request: W3C trace state, passed to the handler."""
CACHE_CONTROL = "forebay-cache-control"
"""Request: for methods with a cache. `no-cache` starts a new run, whose result replaces the kept
one. `share`, beside a `forebay-call-id`: the call may share a run that has another id, which is
then in initial metadata. Both: `no-cache, share`."""
CACHE = "forebay-cache"
"""Initial: for a call that may share its run: `new` if it began the run, else the state of the run
when this caller joined it, `running` or `finished`."""
ATTACHED = "forebay-attached"
"""Initial: the state of the call when this caller attached: `new`, `running` or `finished`."""
QUEUE_MS = "forebay-queue-ms"
"""Trailing: how long the call waited for a worker, in ms."""
RUN_MS = "forebay-run-ms"
"""Trailing: how long the last attempt ran, in ms."""
ATTEMPTS = "forebay-attempts"
"""Trailing: the number of attempts."""
OPERATION_METADATA = "forebay-operation-metadata"
"""Request: to `google.longrunning.Operations`, `call` to get `forebay.v1.CallMetadata` with every
operation. Default: the metadata type that the method declares; CallMetadata if it has none."""
OMITTED = "forebay-omitted"
"""Initial and trailing: how many metadata entries and error details of the handler were left out
because the metadata would be over 8 KiB, the limit of gRPC clients. Unset: none."""

KEY_FORM = re.compile(r"[a-z0-9_.-]+")
CALL_ID_FORM = re.compile(r"[A-Za-z0-9._:-]{1,128}")
# https://www.w3.org/TR/trace-context/: later versions may have more fields, version 00 has not.
_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")

Pairs = Sequence[tuple[str, str | bytes]]

GrpcMetadata = Collection[tuple[str | bytes, str | bytes | None]]
"""Metadata as gRPC takes it: a sequence of pairs, or `grpc.aio.Metadata`. None is an empty value.
Keys that end in "-bin" need bytes."""


def call_metadata(call_id: str | None) -> tuple[tuple[str, str], ...]:
    """The request metadata that names a call; empty if the caller gives no id."""
    return () if call_id is None else ((CALL_ID, call_id),)


def trace_parts(traceparent: str) -> tuple[str, str, str] | None:
    """Trace, span and flags of a W3C trace context, in hexadecimal; None if it is invalid."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return None
    return found[2], found[3], found[4]


def to_pairs(metadata: call_pb2.Metadata) -> list[tuple[str, str | bytes]]:
    """Stored metadata as gRPC expects it: bytes for keys that end in "-bin", text for others."""
    return [
        (
            entry.key,
            entry.value if entry.key.endswith("-bin") else entry.value.decode("ascii", "replace"),
        )
        for entry in metadata.entries
    ]


def from_pairs(pairs: GrpcMetadata | None) -> call_pb2.Metadata:
    """Metadata of gRPC for storage, in all types that gRPC takes.

    Raises TypeError for other types, and ValueError for keys and values that gRPC can't send.
    """
    metadata = call_pb2.Metadata()
    if pairs is None:
        return metadata
    if not isinstance(pairs, Sized):
        raise TypeError(f"metadata is {pairs!r}; expected a sequence of pairs of key and value")
    for key, value in pairs:
        name = _encoded(key).decode()
        if not KEY_FORM.fullmatch(name):
            raise _unsendable(key)
        metadata.entries.add(key=name, value=_value(name, value))
    return metadata


def _value(key: str, value: object) -> bytes:
    if key.endswith("-bin"):
        if not isinstance(value, bytes):
            raise TypeError(f"metadata {key!r} is {type(value).__name__}; expected bytes for -bin")
        return value
    encoded = _encoded(value)
    if not (encoded.isascii() and encoded.decode().isprintable()):
        raise _unsendable(key)
    return encoded


def _encoded(text: object) -> bytes:
    if text is None:
        return b""
    if isinstance(text, str):
        return text.encode()
    if isinstance(text, bytes):
        return text
    raise TypeError(f"metadata has {text!r}; expected keys and values of str or bytes")


def _unsendable(key: object) -> ValueError:
    return ValueError(
        f"metadata {key!r}: expected a key of a-z 0-9 _ . - and a value of printable ASCII"
    )
