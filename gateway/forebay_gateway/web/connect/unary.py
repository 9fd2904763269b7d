"""Connect's unary calls: one request and one response in plain HTTP, by POST or GET."""

from __future__ import annotations

import json
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Mapping
from urllib.parse import parse_qs

import grpc

from forebay.errors import InvalidRequest, TooLarge
from forebay.metadata import Pairs
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.codecs import BY_NAME, JSON_TYPE, Codec
from forebay_gateway.web.compression import (
    GZIP,
    accepts_gzip,
    compressed,
    decompressed,
    is_worth_it,
)
from forebay_gateway.web.connect.errors import HTTP_STATUS, error_object
from forebay_gateway.web.connect.head import read_timeout
from forebay_gateway.web.context import Requests, Status, serve_rpc
from forebay_gateway.web.exchange import Exchange, Headers
from forebay_gateway.web.metadata import response_headers
from forebay_gateway.web.methods import WebMethod

_CODECS = {f"application/{name}": codec for name, codec in BY_NAME.items()}
_ERROR_TYPE = (b"content-type", JSON_TYPE.encode())


class ConnectUnary:
    """Implements `Protocol`; by GET for methods without side effects."""

    content_types = tuple(_CODECS)

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        if method.server_streaming:
            return False
        if exchange.method == "GET":
            return method.no_side_effects and "encoding" in _query(exchange)
        return exchange.method == "POST" and exchange.content_type in _CODECS

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        limit = limits.max_request_bytes
        if exchange.method == "GET":
            query = _query(exchange)
            codec = BY_NAME.get(query["encoding"])
            requests: Requests = QueryRequest(query, method, codec, limit)
        else:
            codec = _CODECS[exchange.content_type]
            requests = BodyRequest(exchange, method, codec, limit)
        responses = UnaryResponse(exchange, method, codec or BY_NAME["json"])
        await serve_rpc(exchange, method, limits, requests, responses, read_timeout)


class BodyRequest:
    """The request in the HTTP body; implements `Requests`."""

    def __init__(self, exchange: Exchange, method: WebMethod, codec: Codec, limit: int) -> None:
        self._exchange = exchange
        self._method = method
        self._codec = codec
        self._limit = limit
        self._is_read = False

    async def read(self) -> object:
        if self._is_read:
            return grpc.aio.EOF
        data = await self._exchange.body(self._limit)
        self._is_read = True
        encoding = self._exchange.headers.get(b"content-encoding", b"")
        plain = await decompressed(data, encoding, self._limit)
        return await self._codec.request(self._method, plain)

    def read_now(self) -> bytes | None:
        data = self._exchange.body_now
        if data is None or self._is_read or b"content-encoding" in self._exchange.headers:
            return None
        self._is_read = True
        return self._codec.request_now(self._method, data)


class QueryRequest:
    """The request in the query of a GET; implements `Requests`."""

    def __init__(
        self, query: Mapping[str, str], method: WebMethod, codec: Codec | None, limit: int
    ) -> None:
        self._query = query
        self._method = method
        self._codec = codec
        self._limit = limit
        self._is_read = False

    async def read(self) -> object:
        if self._is_read:
            return grpc.aio.EOF
        self._is_read = True
        query = self._query
        if self._codec is None:
            raise InvalidRequest("the query has an unknown encoding; expected json or proto")
        if query.get("connect", "v1") != "v1":
            raise InvalidRequest("the query asks for another version of Connect than v1")
        if "message" not in query:
            raise InvalidRequest("the query has no message")
        data = _decoded(query["message"], is_base64=query.get("base64") == "1")
        if len(data) > self._limit:
            raise TooLarge(f"the request is over this server's limit of {self._limit} bytes")
        plain = await decompressed(data, query.get("compression", "").encode(), self._limit)
        return await self._codec.request(self._method, plain)

    def read_now(self) -> None:
        """None: it may have to be decompressed."""


class UnaryResponse:
    """One response, or an error in JSON with an HTTP status; implements `Responses`."""

    def __init__(self, exchange: Exchange, method: WebMethod, codec: Codec) -> None:
        self._exchange = exchange
        self._method = method
        self._codec = codec
        self._initial: Pairs = ()
        self._message: bytes | None = None

    async def begin(self, initial: Pairs) -> None:
        self._initial = initial

    async def message(self, message: bytes) -> None:
        self._message = await self._codec.response(self._method, message)

    async def end(self, status: Status) -> None:
        headers = response_headers(self._initial) + response_headers(status.trailing, b"trailer-")
        if not status.is_ok or self._message is None:
            error = json.dumps(error_object(status), ensure_ascii=False).encode()
            http_status = HTTP_STATUS.get(status.code, 500)
            await self._exchange.respond(http_status, [_ERROR_TYPE, *headers], error)
            return
        content_type = (b"content-type", f"application/{self._codec.name}".encode())
        encoding, body = await self._encoded(self._message)
        await self._exchange.respond(200, [content_type, *encoding, *headers], body)

    async def _encoded(self, message: bytes) -> tuple[Headers, bytes]:
        """The headers of the compression, and the body."""
        if not is_worth_it(message):
            return [], message
        vary = (b"vary", b"accept-encoding")
        if not accepts_gzip(self._exchange.headers.get(b"accept-encoding", b"")):
            return [vary], message
        return [vary, (b"content-encoding", GZIP)], await compressed(message)


def _query(exchange: Exchange) -> Mapping[str, str]:
    """The last value of each parameter."""
    text = exchange.scope.get("query_string", b"").decode("latin-1")
    return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _decoded(message: str, *, is_base64: bool) -> bytes:
    if not is_base64:
        return message.encode()
    data = message.translate({ord("-"): "+", ord("_"): "/"}).rstrip("=").encode()
    try:
        return a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except Base64Error:
        raise InvalidRequest("the message in the query is not base64") from None
