"""Calls by gRPC-Web: gRPC's framing in the body of HTTP/1.1, the trailers as its last frame.

In the text variant, the body is in base64, for clients that can't read binary streams.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Mapping
from dataclasses import dataclass

from forebay.errors import InvalidRequest
from forebay.metadata import Pairs
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.head import (
    RpcError,
    metadata_headers,
    status_headers,
    timeout_of,
)
from forebay_gateway.fronts.native.messages import PREFIX_BYTES
from forebay_gateway.web.codecs import JSON, PROTO, Codec
from forebay_gateway.web.compression import GZIP, accepts_gzip
from forebay_gateway.web.context import Status, serve_rpc
from forebay_gateway.web.envelopes import (
    EnvelopedRequest,
    envelope,
    message_envelope,
)
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.metadata import response_headers
from forebay_gateway.web.methods import WebMethod

_TRAILERS = 0x80
"""The flag of the frame with the trailers."""
_SEGMENT = re.compile(rb"[^=]+=*")


@dataclass(frozen=True)
class _Variant:
    codec: Codec
    is_text: bool = False


_VARIANTS = {
    "application/grpc-web": _Variant(PROTO),
    "application/grpc-web+proto": _Variant(PROTO),
    "application/grpc-web+json": _Variant(JSON),
    "application/grpc-web-text": _Variant(PROTO, is_text=True),
    "application/grpc-web-text+proto": _Variant(PROTO, is_text=True),
}


class GrpcWeb:
    """Implements `Protocol`."""

    content_types = tuple(_VARIANTS)

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        return exchange.method == "POST" and exchange.content_type in _VARIANTS

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        variant = _VARIANTS[exchange.content_type]
        encoding = exchange.headers.get(b"grpc-encoding", b"")
        kind = TextRequest if variant.is_text else EnvelopedRequest
        requests = kind(exchange, method, variant.codec, encoding, limits.max_request_bytes)
        responses = GrpcWebResponses(exchange, method, variant)
        await serve_rpc(exchange, method, limits, requests, responses, _read_timeout)


class TextRequest(EnvelopedRequest):
    """The request in base64; its parts may each have been encoded alone."""

    async def body(self) -> bytes:
        text = await self._exchange.body((self._limit + PREFIX_BYTES) * 4 // 3 + 4)
        try:
            parts = (a2b_base64(part, strict_mode=True) for part in _SEGMENT.findall(text))
            return b"".join(parts)
        except Base64Error:
            raise InvalidRequest("the request is not base64") from None


class GrpcWebResponses:
    """Implements `Responses`."""

    def __init__(self, exchange: Exchange, method: WebMethod, variant: _Variant) -> None:
        self._exchange = exchange
        self._method = method
        self._variant = variant
        self._gzip = accepts_gzip(exchange.headers.get(b"grpc-accept-encoding", b""))

    async def begin(self, initial: Pairs) -> None:
        headers = [
            (b"content-type", self._exchange.content_type.encode()),
            (b"grpc-accept-encoding", b"identity," + GZIP),
        ]
        if self._gzip:
            headers.append((b"grpc-encoding", GZIP))
        await self._exchange.start(200, headers + response_headers(initial))

    async def message(self, message: bytes) -> None:
        data = await self._variant.codec.response(self._method, message)
        await self._send(await message_envelope(data, gzip=self._gzip), more=True)

    async def end(self, status: Status) -> None:
        trailers = status_headers(status.code, status.text, metadata_headers(status.trailing))
        block = b"".join(b"%b: %b\r\n" % pair for pair in trailers)
        await self._send(envelope(_TRAILERS, block), more=False)

    async def _send(self, frame: bytes, *, more: bool) -> None:
        data = b2a_base64(frame, newline=False) if self._variant.is_text else frame
        await self._exchange.send(data, more=more)


def _read_timeout(headers: Mapping[bytes, bytes]) -> float | None:
    value = headers.get(b"grpc-timeout")
    try:
        return None if value is None else timeout_of(value)
    except RpcError as error:
        raise InvalidRequest(error.text) from error
