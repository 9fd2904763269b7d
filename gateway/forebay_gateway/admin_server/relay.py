"""Relays a connection to a Unix socket, no faster than the other end reads."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

_CONNECT_S = 5.0


class RelayEnd(asyncio.Protocol):
    """One end of a relayed connection; its peer writes the bytes that this end reads."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.peer: RelayEnd | None = None
        self._has_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.write(data)

    def eof_received(self) -> bool:
        """Ends the peer's writing; the other direction stays open until it ends as well."""
        self._has_ended = True
        if self.peer is None or self.peer.transport is None:
            return False
        if self.peer._has_ended:
            self.peer.transport.close()
            return False
        if not self.peer.transport.is_closing():
            self.peer.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.pause_reading()

    def resume_writing(self) -> None:
        peer = self.peer.transport if self.peer is not None else None
        if peer is not None and not peer.is_closing():
            peer.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.peer is not None and self.peer.transport is not None:
            self.peer.transport.close()


class Relay(RelayEnd):
    """The caller's end; connects to the first of the Unix sockets that accepts.

    If none accepts, it sends the caller `unavailable` and closes the connection.
    """

    def __init__(self, sockets: Sequence[str], unavailable: bytes = b"") -> None:
        super().__init__()
        self._sockets = sockets
        self._unavailable = unavailable
        self._early = b""
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport is not None  # noqa: S101
        self.transport.pause_reading()
        self._connecting = asyncio.get_running_loop().create_task(self._connect(self.transport))

    def data_received(self, data: bytes) -> None:
        if self.peer is None:
            self._early += data
        else:
            super().data_received(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self._connecting is not None:
            self._connecting.cancel()
        super().connection_lost(error)

    async def _connect(self, transport: asyncio.Transport) -> None:
        far = await _connected(self._sockets)
        if far is None or far.transport is None:
            transport.write(self._unavailable)
            transport.close()
            return
        far.peer, self.peer = self, far
        far.transport.write(self._early)
        transport.resume_reading()


async def _connected(sockets: Sequence[str]) -> RelayEnd | None:
    loop = asyncio.get_running_loop()
    for path in sockets:
        try:
            async with asyncio.timeout(_CONNECT_S):
                _, end = await loop.create_unix_connection(RelayEnd, path)
        except (OSError, TimeoutError):
            continue
        return end
    return None
