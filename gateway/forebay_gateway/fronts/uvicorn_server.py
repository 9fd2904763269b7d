"""Runs uvicorn in the gateway's event loop, for HTTP/1.1 on sockets that are already open."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from forebay_backends.aio.polling import poll_until

_START_S = 10.0


class UvicornServer:
    """Serves the ASGI application on listening sockets.

    uvicorn calls `accepted` with the arguments of a protocol class, and gets the protocol of a new
    connection. `options` are further arguments of `uvicorn.Config`.
    """

    def __init__(
        self,
        app: Any,
        sockets: Sequence[socket.socket],
        accepted: Callable[..., asyncio.Protocol],
        **options: Any,
    ) -> None:
        self._sockets = sockets
        protocol: Any = accepted  # uvicorn declares a class, and calls it
        config = uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            **options,
        )
        self._server = _Server(config)
        self._serving: asyncio.Task[None] | None = None

    @property
    def is_serving(self) -> bool:
        """Whether it has been started."""
        return self._serving is not None

    @property
    def connections(self) -> set[Any]:
        """The open connections, as uvicorn keeps them."""
        return self._server.server_state.connections

    async def start(self) -> None:
        """Starts to accept connections; returns when uvicorn has started."""
        self._serving = asyncio.create_task(self._server.serve(sockets=list(self._sockets)))
        await poll_until(lambda: self._server.started, _START_S)

    def begin_stop(self) -> None:
        """Closes the port soon, then each connection when its request ends."""
        self._server.should_exit = True

    async def stopped(self) -> None:
        """Returns when all connections have been closed; call `begin_stop` first."""
        if self._serving is not None:
            await self._serving


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves the signals alone: the command has its own signal handlers."""
        yield
