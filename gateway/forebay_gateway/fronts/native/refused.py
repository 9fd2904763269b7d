"""Statuses for requests whose headers nghttp2 refuses. Pure.

nghttp2 resets such a stream, and ngh2 reports only its end. gRPC clients show a bare reset as
INTERNAL, without a reason. A server may send a response before the reset
(https://www.rfc-editor.org/rfc/rfc9113#section-8.1.1), so this module inserts one.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from grpc import StatusCode

from forebay.errors import InvalidRequest
from forebay.errors.status import to_status
from forebay_gateway.fronts.native.head import (
    RESPONSE_HEADERS,
    Headers,
    metadata_headers,
    status_headers,
)
from forebay_gateway.fronts.native.http2 import NO_ERROR
from forebay_gateway.rpc.metadata_size import fit_status

_HEAD_BYTES = 9
_HEADERS, _RST_STREAM = 1, 3
_END_STREAM_AND_HEADERS = 5
_MOST_IN_PREFIX = 0x7F
_ERROR = InvalidRequest(
    "the request's headers are not valid in HTTP/2; for example, a metadata value begins or ends "
    "with a blank"
)


def _headers() -> Headers:
    text, details = fit_status(to_status(_ERROR), ())
    trailers = status_headers(StatusCode.INVALID_ARGUMENT, text, metadata_headers(details))
    return [*RESPONSE_HEADERS, *trailers]


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that HPACK does not index, so its state stays.

    https://www.rfc-editor.org/rfc/rfc7541#section-6.2.2
    """
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    """The length as an integer with a prefix of 7 bits.

    https://www.rfc-editor.org/rfc/rfc7541#section-5.1
    """
    rest = len(text) - _MOST_IN_PREFIX
    if rest < 0:
        return bytes((len(text),))
    parts = [_MOST_IN_PREFIX]
    while rest > _MOST_IN_PREFIX:
        parts.append(rest & _MOST_IN_PREFIX | _MOST_IN_PREFIX + 1)
        rest >>= 7
    return bytes((*parts, rest))


_BLOCK = b"".join(_literal(name, value) for name, value in _headers())


def with_statuses(sent: bytes, refused: Collection[int]) -> bytes:
    """The frames, with a response before the reset of each refused stream."""
    parts: list[bytes] = []
    at = 0
    while at + _HEAD_BYTES <= len(sent):
        end = at + _HEAD_BYTES + int.from_bytes(sent[at : at + 3], "big")
        stream_id = int.from_bytes(sent[at + 5 : at + _HEAD_BYTES], "big")
        if sent[at + 3] == _RST_STREAM and stream_id in refused:
            parts.append(_frame(_HEADERS, _END_STREAM_AND_HEADERS, stream_id, _BLOCK))
            parts.append(_frame(_RST_STREAM, 0, stream_id, struct.pack(">I", NO_ERROR)))
        else:
            parts.append(sent[at:end])
        at = end
    parts.append(sent[at:])
    return b"".join(parts)


def _frame(kind: int, flags: int, stream_id: int, payload: bytes) -> bytes:
    return (
        struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload
    )
