"""Accepts a gateway process's connections, keeps them, and ends them at shutdown."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING

from grpc import StatusCode

from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.aio.polling import poll_until
from forebay_gateway.fronts.limits import BACKLOG, FrontLimits
from forebay_gateway.fronts.native.connection import NativeConnection
from forebay_gateway.fronts.native.handshakes import Handshakes
from forebay_gateway.fronts.native.head import RpcError
from forebay_gateway.fronts.native.listeners import listening_sockets
from forebay_gateway.fronts.native.session import Session
from forebay_gateway.fronts.native.streams import Serving
from forebay_gateway.rpc.context import FindHandler

if TYPE_CHECKING:
    from forebay_gateway.tls.server_tls import ServerTls

TICK_S = 1.0
_ACCEPTING_S = 0.02
"""Enough for asyncio to hand over the connections that it has already accepted."""
_CLOSING_S = 1.0
"""How long callers may take to close their connections, after the GOAWAY."""
_SHUT_DOWN = RpcError(StatusCode.UNAVAILABLE, "the gateway is shutting down")

_log = logging.getLogger(__name__)


class NativeFront:
    """Implements `Front` in one event loop, for any number of addresses.

    With `tls`, all connections use TLS; a new one gets the credentials in force at that time.
    Raises OSError if it can't listen.
    """

    def __init__(
        self,
        find: FindHandler,
        listen: Sequence[str],
        limits: FrontLimits,
        *,
        reuse_port: bool,
        tls: ServerTls | None = None,
    ) -> None:
        self._serving = Serving(find, limits)
        self._open: set[Session] = set()
        self._handshakes = (
            None
            if tls is None
            else Handshakes(
                *(lambda: tls.current.context, self._open, self._connection),
                max_connections=limits.max_connections,
                handshake_s=limits.handshake_s,
            )
        )
        self._servers: list[asyncio.Server] = []
        self._ticks: asyncio.Task[None] | None = None
        self.addresses: list[str] = []
        self._sockets: list[socket.socket] = []
        try:
            for one in listen:
                address, sockets = listening_sockets(one, reuse_port=reuse_port)
                self.addresses.append(address)
                self._sockets.extend(sockets)
        except BaseException:
            self._close_sockets()
            raise

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def start(self) -> None:
        self._servers = await self._listen()
        self._ticks = asyncio.create_task(
            run_periodically(TICK_S, self._tick, _log, "looking at connections")
        )

    async def keep_serving(self) -> None:
        await asyncio.Event().wait()

    async def stop(self, grace_s: float) -> None:
        await _close(self._servers)
        self._close_sockets()
        await asyncio.sleep(_ACCEPTING_S)
        if self._handshakes is not None:
            await self._handshakes.stop()
        for session in tuple(self._open):
            session.go_away()
        await poll_until(lambda: not self._serving.tasks, grace_s)
        for session in tuple(self._open):
            session.end_rpcs(_SHUT_DOWN)
        await cancel_all(tuple(self._serving.tasks))
        for session in tuple(self._open):
            session.close()
        if self._ticks is not None:
            await cancel_all([self._ticks])
        await poll_until(lambda: not self._open, _CLOSING_S)
        for session in tuple(self._open):
            session.transport.abort()
        await poll_until(lambda: not self._open, _CLOSING_S)

    def _close_sockets(self) -> None:
        for sock in self._sockets:
            sock.close()

    def _connection(self) -> NativeConnection:
        return NativeConnection(self._serving, self._open)

    async def _listen(self) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        accept = self._connection if self._handshakes is None else self._handshakes.accept
        return [
            await loop.create_server(accept, sock=sock, backlog=BACKLOG) for sock in self._sockets
        ]

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        for session in tuple(self._open):
            session.tick(now)


async def _close(servers: Sequence[asyncio.Server]) -> None:
    """Stops accepting, and closes the servers one loop iteration later.

    Otherwise asyncio would never close a connection that it accepts just before.
    """
    for server in servers:
        for sock in server.sockets:
            asyncio.get_running_loop().remove_reader(sock)
    await asyncio.sleep(0)
    for server in servers:
        server.close()
