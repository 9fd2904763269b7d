"""gRPC servers that share an address, and come back.

A grpc.aio server takes calls in one by one, each a turn or two of the event loop after the
last. So most calls of a busy gateway would wait to be taken in, and few be there at a time to
share messages and turns. Several servers of one event loop take in as many at a time: of
themselves, with a handler that echoes, 1.5 times as many calls/s.

A grpc.aio server takes in none any more when its main loop fails, and leaves the process up. It
fails by a request whose path is no UTF-8, which anyone who reaches the port can send: the
path is decoded there, before any handler or interceptor of ours. So the server is made anew, on
the same port; calls that it had go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

from forebay_backends.aio.background_tasks import BackgroundTasks

_SHARING = 32
"""Linux spreads connections over them, by chance: so many that a few seldom meet at one."""
_AGAIN_AFTER_S = 0.05
_LOOK_EVERY_S = 1.0
"""One that has failed says so when its last call has ended, or to who has waited for so long."""
_CALLS_GO_ON_S = 3600.0

_log = logging.getLogger(__name__)


class ServerPool:
    """The servers that listen on an address until they are stopped: one, or several that share it.

    `make` makes a server without ports. Raises RuntimeError where it can't listen.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server], listen: str, *, shared: bool) -> None:
        first = _Server(make, listen)
        self.address = first.address
        others = [_Server(make, first.address) for _ in range(1, _SHARING if shared else 1)]
        self._servers = [first, *others]

    async def start(self) -> None:
        """Begins to serve."""
        for server in self._servers:
            await server.start()

    async def keep(self) -> None:
        """Makes servers that fail anew, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.keep())

    async def stop(self, grace_s: float) -> None:
        """Stops the servers; calls in flight get the grace. `keep` is to be cancelled first."""
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


class _Server:
    def __init__(self, make: Callable[[], grpc.aio.Server], listen: str) -> None:
        self._make = make
        self._server = make()
        self._failed: set[grpc.aio.Server] = set()
        self._background_tasks = BackgroundTasks()
        port = self._server.add_insecure_port(listen)
        self.address = f"{listen.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        await self._server.start()

    async def keep(self) -> None:
        while True:
            try:
                await self._server.wait_for_termination(_LOOK_EVERY_S)
            except Exception:
                _log.exception("a server failed; it is started again")
                self._failed.add(self._server)
                self._background_tasks.start(self._let_go(self._server))
                await self._start_again()

    async def stop(self, grace_s: float) -> None:
        servers = (self._server, *self._failed)
        await asyncio.gather(*(server.stop(grace_s) for server in servers))

    async def _let_go(self, failed: grpc.aio.Server) -> None:
        """Lets the calls of one that has failed end, and then frees what it holds."""
        await failed.stop(_CALLS_GO_ON_S)
        self._failed.discard(failed)

    async def _start_again(self) -> None:
        while True:
            server = self._make()
            try:
                server.add_insecure_port(self.address)
            except RuntimeError as error:  # the old one may not have let go of it yet
                _log.warning("can't listen on %s yet: %s", self.address, error)
                await asyncio.sleep(_AGAIN_AFTER_S)
                continue
            self._server = server
            await server.start()
            return
