"""Connect's streaming RPCs: messages in envelopes; the last envelope has the status."""

from __future__ import annotations

import json
from typing import Any

from forebay.metadata import Pairs
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.codecs import BY_NAME, Codec
from forebay_gateway.web.compression import GZIP, accepts_gzip
from forebay_gateway.web.connect.errors import error_object
from forebay_gateway.web.connect.head import read_timeout
from forebay_gateway.web.context import Status, serve_rpc
from forebay_gateway.web.envelopes import EnvelopedRequest, envelope, message_envelope
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.metadata import response_headers
from forebay_gateway.web.methods import WebMethod

_CODECS = {f"application/connect+{name}": codec for name, codec in BY_NAME.items()}
_END = 2
"""The flag of the envelope that ends the stream."""


class ConnectStream:
    """Implements `Protocol`."""

    content_types = tuple(_CODECS)

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        streams = method.server_streaming or method.client_streaming
        return streams and exchange.method == "POST" and exchange.content_type in _CODECS

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        codec = _CODECS[exchange.content_type]
        encoding = exchange.headers.get(b"connect-content-encoding", b"")
        requests = EnvelopedRequest(exchange, method, codec, encoding, limits.max_request_bytes)
        responses = ConnectResponses(exchange, method, codec)
        await serve_rpc(exchange, method, limits, requests, responses, read_timeout)


class ConnectResponses:
    """Implements `Responses`."""

    def __init__(self, exchange: Exchange, method: WebMethod, codec: Codec) -> None:
        self._exchange = exchange
        self._method = method
        self._codec = codec
        accepted = exchange.headers.get(b"connect-accept-encoding", b"")
        self._gzip = accepts_gzip(accepted)

    async def begin(self, initial: Pairs) -> None:
        content_type = f"application/connect+{self._codec.name}".encode()
        headers = [(b"content-type", content_type), (b"connect-accept-encoding", GZIP)]
        if self._gzip:
            headers.append((b"connect-content-encoding", GZIP))
        await self._exchange.start(200, headers + response_headers(initial))

    async def message(self, message: bytes) -> None:
        data = await self._codec.response(self._method, message)
        await self._exchange.send(await message_envelope(data, gzip=self._gzip), more=True)

    async def end(self, status: Status) -> None:
        data = json.dumps(_end_of_stream(status), ensure_ascii=False).encode()
        await self._exchange.send(envelope(_END, data), more=False)


def _end_of_stream(status: Status) -> dict[str, Any]:
    metadata: dict[str, list[str]] = {}
    for name, value in response_headers(status.trailing):
        metadata.setdefault(name.decode(), []).append(value.decode())
    return {
        **({} if status.is_ok else {"error": error_object(status)}),
        **({"metadata": metadata} if metadata else {}),
    }
