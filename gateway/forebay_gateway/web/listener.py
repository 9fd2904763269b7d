"""Listens on `web_listen`: HTTP/1.1 by uvicorn, over TLS where the gateway has a certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from math import ceil
from typing import Any

from forebay_gateway.fronts.limits import BACKLOG
from forebay_gateway.fronts.native.handshakes import Handshakes
from forebay_gateway.fronts.native.listeners import listening_sockets
from forebay_gateway.fronts.uvicorn_server import UvicornServer
from forebay_gateway.web.connection import ConnectionLimits, WebConnection
from forebay_gateway.web.exchange import App

TlsContext = Callable[[], ssl.SSLContext]
"""Returns the SSL context with the current certificates."""


class WebListener:
    """Listens from the moment it is made; raises OSError if it can't.

    Without `tls`, it serves plain text.
    """

    def __init__(
        self,
        listen: str,
        app: App,
        limits: ConnectionLimits,
        *,
        reuse_port: bool,
        grace_s: float,
        tls: TlsContext | None = None,
    ) -> None:
        self.address, self._sockets = listening_sockets(listen, reuse_port=reuse_port)
        self._limits = limits
        self._tls = tls
        self._handshakes: Handshakes | None = None
        """Created at the first connection, which brings the arguments that all have in common."""
        self._server = UvicornServer(
            *(app, self._sockets, self._accepted),
            interface="asgi3",
            backlog=BACKLOG,
            timeout_keep_alive=limits.idle_s,
            timeout_graceful_shutdown=ceil(grace_s),
        )

    async def start(self) -> None:
        """Starts to accept connections."""
        await self._server.start()

    async def stop(self) -> None:
        """Closes the port, then each connection when its request ends; returns when all have.

        Requests that take longer than `grace_s` are cancelled.
        """
        if not self._server.is_serving:
            for sock in self._sockets:
                sock.close()
            return
        self._server.begin_stop()
        if self._handshakes is not None:
            await self._handshakes.stop()
        await self._server.stopped()

    def _accepted(self, **uvicorn_arguments: Any) -> asyncio.Protocol:
        def connection() -> asyncio.Protocol:
            return WebConnection(self._limits, **uvicorn_arguments)

        if self._tls is None:
            return connection()
        if self._handshakes is None:
            self._handshakes = Handshakes(
                *(self._tls, self._server.connections, connection),
                max_connections=self._limits.max_connections,
                handshake_s=self._limits.head_s,
            )
        return self._handshakes.accept()
