"""A gRPC server that comes back.

grpc.aio ends a server for good, with all its calls, when its main loop fails, and leaves
the process up. It fails by a request whose path is no UTF-8, which anyone who reaches the port
can send: the path is decoded there, before any handler or interceptor of ours. So the
server is made anew, on the same port; calls that were cut are called again by their ids.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

_AGAIN_AFTER_S = 0.05
# A wait without a timeout would, when it is cancelled, cancel the server's own future.
_WAIT_S = 60.0

_log = logging.getLogger(__name__)


class Serving:
    """A server that listens on one address until it is stopped.

    `make` makes a server without ports. Raises RuntimeError where it can't listen.
    """

    def __init__(self, make: Callable[[], grpc.aio.Server], listen: str) -> None:
        self._make = make
        self._server = make()
        port = self._server.add_insecure_port(listen)
        self.address = f"{listen.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        """Begins to serve."""
        await self._server.start()

    async def keep(self) -> None:
        """Makes the server anew whenever it fails, until cancelled."""
        while True:
            try:
                await self._server.wait_for_termination(_WAIT_S)
            except Exception:
                _log.exception("the server failed; it is started again")
                await self._start_again()

    async def stop(self, grace_s: float) -> None:
        """Stops the server; calls in flight get the grace. `keep` is to be cancelled first."""
        await self._server.stop(grace_s)

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
