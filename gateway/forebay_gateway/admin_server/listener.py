"""Listens on the operators' address: HTTP/1.1 by uvicorn, the rest by relays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakSet

from forebay_gateway.admin_server.first_bytes import HTTP2, FirstBytes
from forebay_gateway.admin_server.relay import Relay
from forebay_gateway.fronts.native.listeners import listening_sockets
from forebay_gateway.fronts.uvicorn_server import UvicornServer
from forebay_gateway.web.connection import ConnectionLimits, WebConnection

LIMITS = ConnectionLimits(
    max_connections=256, request_s=30.0, max_head_bytes=32 << 10, head_s=10.0, idle_s=5
)
"""Operators, scrapers and probes are few, and their requests small."""
_FINISH_S = 1
_UNAVAILABLE = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"

RelayTo = Callable[[str], Sequence[str]]
"""Gets `HTTP2` or a path; returns the Unix sockets to relay to, none if the app serves it."""


class AdminListener:
    """Listens from the moment it is made; raises OSError if it can't."""

    def __init__(
        self, listen: str, app: Any, relay_to: RelayTo, limits: ConnectionLimits = LIMITS
    ) -> None:
        self.address, self._sockets = listening_sockets(listen, reuse_port=False)
        self._relay_to = relay_to
        self._limits = limits
        self._open: WeakSet[asyncio.Protocol] = WeakSet()
        self._server = UvicornServer(
            *(app, self._sockets, self._accepted),
            timeout_keep_alive=limits.idle_s,
            timeout_graceful_shutdown=_FINISH_S,
        )

    async def start(self) -> None:
        """Starts to accept connections."""
        await self._server.start()

    async def stop(self) -> None:
        """Lets requests end for a second, and closes all connections."""
        if not self._server.is_serving:
            return
        self._server.begin_stop()
        for protocol in tuple(self._open):
            if isinstance(protocol, Relay) and protocol.transport is not None:
                protocol.transport.close()
        await self._server.stopped()

    def _accepted(self, **uvicorn_arguments: Any) -> asyncio.Protocol:
        def choose(request: str) -> asyncio.Protocol:
            sockets = self._relay_to(request)
            if not sockets:
                return WebConnection(self._limits, **uvicorn_arguments)
            relay = Relay(sockets, b"" if request == HTTP2 else _UNAVAILABLE)
            self._open.add(relay)
            return relay

        return FirstBytes(choose, self._limits.head_s)
