"""TLS handshakes, before a connection serves RPCs.

Asyncio's own TLS servers can't change their SSL context and don't count handshakes: callers that
begin handshakes and then send nothing could take all file descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Sized

from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.fronts.native.peers import peer_of

_SHUTDOWN_S = 5.0
"""How long a caller may take to answer TLS's close_notify."""
_LOG_INTERVAL_S = 1.0
_READ_BYTES = 64 << 10
"""With 32 KiB, a message of 1 MiB takes a fifth more CPU."""

_log = logging.getLogger(__name__)


class Handshakes:
    """Does the TLS handshake of each accepted connection, then passes it to a new protocol.

    `context` returns the SSL context with the current certificates.
    Handshakes count as connections. If there are too many, the oldest one is aborted: honest
    callers need milliseconds for theirs.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        connections: Sized,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        max_connections: int,
        handshake_s: float,
    ) -> None:
        self._context = context
        self._max_connections = max_connections
        self._handshake_s = handshake_s
        self._connections = connections
        self._make_protocol = make_protocol
        self._under_way: dict[asyncio.Transport, asyncio.Task[None]] = {}
        self._next_log_at = 0.0
        # Each connection holds a buffer of this size, by default of 256 KiB.
        SSLProtocol.max_size = _READ_BYTES

    def accept(self) -> asyncio.Protocol:
        """The protocol of a connection that was just accepted."""
        return _Handshake(self._begin)

    async def stop(self) -> None:
        """Cancels the handshakes under way."""
        await cancel_all(tuple(self._under_way.values()))

    def _begin(self, handshake: _Handshake, transport: asyncio.Transport) -> None:
        transport.pause_reading()
        held = len(self._connections) + len(self._under_way)
        if held >= self._max_connections:
            oldest = next(iter(self._under_way), transport)
            self._under_way.pop(oldest, None)
            oldest.abort()
            if oldest is transport:
                return
        task = asyncio.create_task(self._run(handshake, transport))
        self._under_way[transport] = task
        task.add_done_callback(lambda _: self._under_way.pop(transport, None))

    async def _run(self, handshake: _Handshake, transport: asyncio.Transport) -> None:
        try:
            secure = await asyncio.get_running_loop().start_tls(
                transport,
                handshake,
                self._context(),
                server_side=True,
                ssl_handshake_timeout=self._handshake_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except (OSError, ValueError) as error:  # ssl.SSLError, and names that are not text
            self._log_failure(transport, error)
            return
        self._under_way.pop(transport, None)
        if secure is not None:  # None in Python 3.11 if the caller disconnected
            handshake.pass_on(secure, self._make_protocol())

    def _log_failure(self, transport: asyncio.Transport, error: Exception) -> None:
        """Logs at most one failure a second, but no disconnect, since port probes disconnect."""
        now = asyncio.get_running_loop().time()
        if isinstance(error, ConnectionResetError) or now < self._next_log_at:
            return
        self._next_log_at = now + _LOG_INTERVAL_S
        _log.info("%s: the TLS handshake failed: %s", peer_of(transport), error)


class _Handshake(asyncio.Protocol):
    """The protocol of a connection until its handshake is over."""

    def __init__(self, begin: Callable[[_Handshake, asyncio.Transport], None]) -> None:
        self._begin = begin
        self._early: list[bytes] = []
        self._is_lost = False
        self._successor: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._begin(self, transport)

    def data_received(self, data: bytes) -> None:
        """Keeps data that arrives together with the end of the handshake."""
        self._early.append(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._is_lost = True
        if self._successor is not None:  # asyncio had already scheduled this call
            self._successor.connection_lost(error)

    def pass_on(self, secure: asyncio.Transport, successor: asyncio.Protocol) -> None:
        if self._is_lost:
            return
        self._successor = successor
        secure.set_protocol(successor)
        successor.connection_made(secure)
        for data in self._early:
            successor.data_received(data)
