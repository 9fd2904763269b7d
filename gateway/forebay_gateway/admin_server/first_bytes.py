"""Reads the start of a connection, until it is known who serves it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n"
"""https://www.rfc-editor.org/rfc/rfc9113#section-3.4"""
HTTP2 = "HTTP/2"
_LONGEST_LINE = 8192

Choose = Callable[[str], asyncio.Protocol]
"""Gets `HTTP2` or an HTTP/1.1 request's path, and returns the protocol that serves it."""


def request_of(data: bytes) -> str | None:
    """`HTTP2`, or the path of a request of HTTP/1.1; None if more bytes are needed. Pure.

    The path is empty if the bytes are not a request.
    """
    if data.startswith(HTTP2_PREFACE):
        return HTTP2
    line, end, _ = data.partition(b"\r\n")
    if not end:
        return "" if len(data) > _LONGEST_LINE else None
    words = line.decode("ascii", "replace").split(" ")
    return words[1].partition("?")[0] if len(words) == 3 else ""


class FirstBytes(asyncio.Protocol):
    """Hands the connection, with the bytes that it has read, to the chosen protocol.

    A connection whose first line takes longer than `timeout_s` is closed.
    """

    def __init__(self, choose: Choose, timeout_s: float) -> None:
        self._choose = choose
        self._timeout_s = timeout_s
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._timeout = asyncio.get_running_loop().call_later(self._timeout_s, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._data += data
        request = request_of(self._data)
        if request is None:
            return
        self._timeout.cancel()
        protocol = self._choose(request)
        self._transport.set_protocol(protocol)
        protocol.connection_made(self._transport)
        protocol.data_received(self._data)

    def connection_lost(self, error: Exception | None) -> None:
        self._timeout.cancel()
