"""One accepted connection as asyncio sees it: how much of a read is handled in one turn."""

from __future__ import annotations

import asyncio
import socket
from collections import deque

from forebay_gateway.fronts.native.session import Session
from forebay_gateway.fronts.native.streams import Serving

_FIRST_SLICE_BYTES, _STARTED_A_TURN = 4 << 10, 64
"""How much of a read is handled at first, and how many RPCs may start in one loop iteration.

A read of 256 KiB may have thousands of requests. Other callers would wait for all of them.
"""


class NativeConnection(asyncio.Protocol):
    """The protocol of one accepted connection.

    Its session is in `open_sessions` until the connection is lost.
    """

    _transport: asyncio.Transport
    _session: Session

    def __init__(self, serving: Serving, open_sessions: set[Session]) -> None:
        self._serving = serving
        self._open = open_sessions
        self._untaken: deque[memoryview] = deque()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Sends the SETTINGS; aborts if there are too many connections, or TLS chose no HTTP/2."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport
        self._session = Session(self._serving, transport)
        if len(self._open) >= self._serving.limits.max_connections:
            transport.abort()
            return
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            transport.abort()
            return
        sock = transport.get_extra_info("socket")
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(self._session)
        self._session.flush()

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self._session)
        self._session.lost()

    def eof_received(self) -> None:
        """The caller has closed its side; asyncio now closes the transport."""
        self._session.closed()

    def data_received(self, data: bytes) -> None:
        """Queues the received bytes, and handles them unless earlier ones are still queued."""
        self._untaken.append(memoryview(data))
        if len(self._untaken) == 1:
            self._take()

    def _take(self) -> None:
        """Handles received bytes; pauses until the next loop iteration after too many new RPCs."""
        session = self._session
        started, size = session.streams.started, _FIRST_SLICE_BYTES
        while self._untaken and not self._transport.is_closing():
            data = self._untaken.popleft()
            if len(data) > size:
                self._untaken.appendleft(data[size:])
            before = session.streams.started
            if not session.receive(data[:size]):
                break
            if session.streams.started - started >= _STARTED_A_TURN and self._untaken:
                self._transport.pause_reading()
                session.loop.call_soon(self._take_rest)
                break
            if session.streams.started == before:
                size *= 4
        session.flush_soon()

    def _take_rest(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
            self._take()

    def pause_writing(self) -> None:
        """Stops sending: the caller or the network is too slow for the responses."""
        self._session.pause()

    def resume_writing(self) -> None:
        """Sends again."""
        self._session.resume()
