"""Listens on `web_listen`: HTTP/1.1 by uvicorn, over TLS where the gateway has a certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import uvicorn

from forebay_backends.aio.polling import poll_until
from forebay_gateway.fronts.native.handshakes import Handshakes
from forebay_gateway.fronts.native.listeners import listening_sockets
from forebay_gateway.web.connection import ConnectionLimits, WebConnection
from forebay_gateway.web.exchange import App

_START_S = 10.0
_BACKLOG = 1024

TlsContext = Callable[[], ssl.SSLContext]
"""Returns the context of the certificates in force."""


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
        """Made when the first connection tells what uvicorn's have in common."""
        protocol: Any = self._accepted  # uvicorn declares a class, and calls it
        untyped_app: Any = app
        self._config = uvicorn.Config(
            untyped_app,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=limits.idle_s,
            timeout_graceful_shutdown=ceil(grace_s),
        )
        self._server = _Server(self._config)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Accepts connections from now on."""
        self._serving = asyncio.create_task(self._server.serve(sockets=list(self._sockets)))
        await poll_until(lambda: self._server.started, _START_S)

    async def stop(self) -> None:
        """Closes the port, then each connection when its request ends; returns when all have.

        Those whose requests take longer than `grace_s` are cancelled.
        """
        if self._serving is None:
            for sock in self._sockets:
                sock.close()
            return
        self._server.should_exit = True
        if self._handshakes is not None:
            await self._handshakes.stop()
        await self._serving

    def _accepted(self, **uvicorn_arguments: Any) -> asyncio.Protocol:
        def connection() -> asyncio.Protocol:
            return WebConnection(self._limits, **uvicorn_arguments)

        if self._tls is None:
            return connection()
        if self._handshakes is None:
            self._handshakes = Handshakes(
                *(self._tls, self._server.server_state.connections, connection),
                max_connections=self._limits.max_connections,
                handshake_s=self._limits.head_s,
            )
        return self._handshakes.accept()


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The command has handlers of its own."""
        yield
