"""Converts request headers to a `RequestHead`, and metadata to response headers. Pure."""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from grpc import StatusCode

from forebay.metadata import KEY_FORM, Pairs
from forebay_gateway.rpc.metadata_size import ENTRY_BYTES, UNESCAPED

Headers = list[tuple[bytes, bytes]]

MAX_METADATA_BYTES = 16 << 10
"""gRPC's own limit, counted as in https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2."""
_CONTENT_TYPE = b"application/grpc"
ACCEPTED_ENCODINGS = (b"identity", b"deflate", b"gzip")
RESPONSE_HEADERS: Headers = [
    (b":status", b"200"),
    (b"content-type", _CONTENT_TYPE),
    (b"grpc-accept-encoding", b",".join(ACCEPTED_ENCODINGS)),
]
# Headers that gRPC reads itself, or that its clients send; handlers see the rest.
_PROTOCOL_HEADERS = frozenset(
    (
        b":method",
        b":scheme",
        b":path",
        b":authority",
        b"te",
        b"content-type",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-message-type",
        b"grpc-internal-encoding-request",
    )
)
_TIMEOUT = re.compile(rb"([0-9]{1,20})([HMSmun])")
_UNIT_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_LONGEST_TIMEOUT_S = 10 * 365 * 86_400.0
"""Event loops take no longer timers."""
_TEXT = re.compile(rb"[\x20-\x7e]*")


class RpcError(Exception):
    """The front ends an RPC with this status."""

    def __init__(self, code: StatusCode, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class NoGrpcRequest(Exception):
    """An HTTP request that is not gRPC: the response is this HTTP status."""

    def __init__(self, status: bytes) -> None:
        super().__init__(status)
        self.status = status


@dataclass(slots=True)
class RequestHead:
    """The content of a request's headers; `encoding` is how its messages may be compressed."""

    path: str
    metadata: list[tuple[str, str | bytes]]
    timeout_s: float | None
    encoding: bytes


def read_head(headers: Sequence[tuple[bytes, bytes]]) -> RequestHead:
    """Parses the headers of a request; raises RpcError or NoGrpcRequest."""
    own: dict[bytes, bytes] = {}
    metadata: list[tuple[str, str | bytes]] = []
    for name, value in headers:
        if name in _PROTOCOL_HEADERS:
            own[name] = value
        elif name[-4:] == b"-bin":
            metadata.extend(_binary(name.decode("ascii"), value))
        else:
            metadata.append((name.decode("ascii"), _text(value)))
    if own.get(b":method") != b"POST":
        raise NoGrpcRequest(b"405")
    if not own.get(b"content-type", b"").startswith(_CONTENT_TYPE):
        raise NoGrpcRequest(b"415")
    size = ENTRY_BYTES * len(headers) + sum(map(len, chain.from_iterable(headers)))
    if size > MAX_METADATA_BYTES:
        raise RpcError(
            StatusCode.RESOURCE_EXHAUSTED,
            f"the request has {size} bytes of metadata; at most {MAX_METADATA_BYTES} are accepted",
        )
    encoding = own.get(b"grpc-encoding", b"identity")
    if encoding not in ACCEPTED_ENCODINGS:
        raise RpcError(
            StatusCode.UNIMPLEMENTED,
            f"the grpc-encoding {_text(encoding)!r} is not supported; see grpc-accept-encoding",
        )
    timeout = own.get(b"grpc-timeout")
    timeout_s = None if timeout is None else timeout_of(timeout)
    return RequestHead(_text(own[b":path"]), metadata, timeout_s, encoding)


def metadata_headers(pairs: Pairs) -> Headers:
    """The pairs as headers; raises ValueError for those that gRPC does not allow."""
    return [(_checked_key(key), _wire_value(key, value)) for key, value in pairs]


def status_headers(code: StatusCode, text: str, trailing: Headers) -> Headers:
    """The trailers of an RPC."""
    number: int = code.value[0]
    headers = [(b"grpc-status", b"%d" % number)]
    if text:
        headers.append((b"grpc-message", _percent_encoded(text)))
    return headers + trailing


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _binary(key: str, value: bytes) -> Iterable[tuple[str, bytes]]:
    """Values of one key may be joined by commas; padding is optional."""
    for part in value.split(b","):
        try:
            yield key, a2b_base64(part.strip() + b"=" * (-len(part.strip()) % 4), strict_mode=True)
        except Base64Error:
            raise RpcError(
                StatusCode.INVALID_ARGUMENT, f"the value of {key} in the metadata is not base64"
            ) from None


def timeout_of(value: bytes) -> float:
    """The seconds that a `grpc-timeout` header says; raises RpcError."""
    match = _TIMEOUT.fullmatch(value)
    if match is None:
        raise RpcError(
            StatusCode.INVALID_ARGUMENT,
            f"grpc-timeout is {_text(value)!r}; expected digits and a unit of H, M, S, m, u, n",
        )
    digits, unit = match.groups()
    return min(int(digits) * _UNIT_S[unit], _LONGEST_TIMEOUT_S)


@lru_cache(maxsize=1024)
def _checked_key(key: str) -> bytes:
    if KEY_FORM.fullmatch(key) is None:
        raise ValueError(f"{key!r} is not a valid metadata key")
    return key.encode()


def _wire_value(key: str, value: str | bytes) -> bytes:
    encoded = value.encode() if isinstance(value, str) else value
    if key.endswith("-bin"):
        return b2a_base64(encoded, newline=False).rstrip(b"=")
    if _TEXT.fullmatch(encoded) is None:
        raise ValueError(f"the value of {key} is not printable ASCII; only -bin keys have bytes")
    return encoded


def _percent_encoded(text: str) -> bytes:
    encoded = text.encode("utf-8", "replace")
    if not encoded.translate(None, UNESCAPED):
        return encoded
    return b"".join(bytes((byte,)) if byte in UNESCAPED else b"%%%02X" % byte for byte in encoded)
