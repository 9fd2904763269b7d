"""Enveloped messages: each has a prefix of flags and length, as in gRPC's own framing."""

from __future__ import annotations

import grpc

from forebay.errors import InvalidRequest
from forebay_gateway.fronts.native.messages import PREFIX_BYTES
from forebay_gateway.web.codecs import Codec
from forebay_gateway.web.compression import compressed, decompressed, is_worth_it
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod

COMPRESSED = 1


def envelope(flags: int, data: bytes) -> bytes:
    """The data with its prefix."""
    return b"%c%b%b" % (flags, len(data).to_bytes(4, "big"), data)


async def message_envelope(data: bytes, *, gzip: bool) -> bytes:
    """A response with its prefix; with `gzip`, it is compressed if it is large enough."""
    if gzip and is_worth_it(data):
        return envelope(COMPRESSED, await compressed(data))
    return envelope(0, data)


def only_envelope(body: bytes) -> tuple[int, bytes] | None:
    """The flags and data of the only message; None if the body is empty. Pure.

    Raises InvalidRequest if the message is incomplete, or others follow.
    """
    if not body:
        return None
    size = PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big")
    if len(body) < PREFIX_BYTES or len(body) < size:
        raise InvalidRequest("the request ends within a message")
    if len(body) > size:
        raise InvalidRequest("the method takes one request message; there are several")
    return body[0], body[PREFIX_BYTES:]


class EnvelopedRequest:
    """The request of a method that takes exactly one; implements `Requests`.

    `encoding` is the compression of requests with the flag `COMPRESSED`.
    """

    def __init__(
        self, exchange: Exchange, method: WebMethod, codec: Codec, encoding: bytes, limit: int
    ) -> None:
        self._exchange = exchange
        self._method = method
        self._codec = codec
        self._encoding = encoding
        self._limit = limit
        self._is_read = False

    async def read(self) -> object:
        if self._is_read:
            return grpc.aio.EOF
        found = only_envelope(await self.body())
        self._is_read = True
        if found is None:
            return grpc.aio.EOF
        flags, data = found
        if flags not in (0, COMPRESSED):
            raise InvalidRequest(f"a request has the flags {flags}; expected 0 or {COMPRESSED}")
        if flags == COMPRESSED:
            if not self._encoding:
                raise InvalidRequest("a request is compressed, and no header says how")
            data = await decompressed(data, self._encoding, self._limit)
        return await self._codec.request(self._method, data)

    def read_now(self) -> None:
        """Returns None: the request may have to be decompressed."""

    async def body(self) -> bytes:
        """The body in binary; `TextRequest` decodes it first."""
        return await self._exchange.body(self._limit + PREFIX_BYTES)
