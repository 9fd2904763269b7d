"""A gRPC server that is replaced when it fails.

A request whose path is not UTF-8 ends the main loop of a grpc.aio server, which decodes the path
before any handler or interceptor of ours. The process stays up, but the server accepts no further
call. So anyone who reaches the port could stop the gateway. A new server on the same port replaces
the failed one, whose calls continue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import grpc

from forebay_backends.aio.background_tasks import BackgroundTasks

_LISTEN_RETRY_DELAY_S = 0.05
_FAILURE_CHECK_INTERVAL_S = 1.0
"""`wait_for_termination` raises a server's failure when its last call ends, or at its timeout."""
_FAILED_SERVER_GRACE_S = 3600.0

_log = logging.getLogger(__name__)


class ReplacedServer:
    """Implements `Front`.

    `make` returns a server without ports, and `credentials` the credentials for one server; if it
    is None, servers use plain text. Raises RuntimeError if it can't listen.
    """

    def __init__(
        self,
        make: Callable[[], grpc.aio.Server],
        listen: str,
        credentials: Callable[[], grpc.ServerCredentials] | None = None,
    ) -> None:
        self._make = make
        self._credentials = credentials
        self._server = make()
        self._failed: set[grpc.aio.Server] = set()
        self._background_tasks = BackgroundTasks()
        port = self._add_port(self._server, listen)
        is_path = listen.startswith("unix:")
        self.address = listen if is_path else f"{listen.rpartition(':')[0]}:{port}"

    async def start(self) -> None:
        await self._server.start()

    async def keep_serving(self) -> None:
        """Replaces the server when it fails, until cancelled."""
        while True:
            try:
                await self._server.wait_for_termination(_FAILURE_CHECK_INTERVAL_S)
            except Exception:
                _log.exception("the gRPC server failed; replacing it")
                self._failed.add(self._server)
                self._background_tasks.start(self._retire(self._server))
                await self._replace()

    async def stop(self, grace_s: float) -> None:
        servers = (self._server, *self._failed)
        await asyncio.gather(*(server.stop(grace_s) for server in servers))

    def _add_port(self, server: grpc.aio.Server, address: str) -> int:
        if self._credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, self._credentials())

    async def _retire(self, failed: grpc.aio.Server) -> None:
        """Lets the calls of a failed server end, then frees it."""
        await failed.stop(_FAILED_SERVER_GRACE_S)
        self._failed.discard(failed)

    async def _replace(self) -> None:
        while True:
            server = self._make()
            try:
                self._add_port(server, self.address)
            except RuntimeError as error:  # the failed server may still hold the port
                _log.warning("can't listen on %s yet: %s", self.address, error)
                await asyncio.sleep(_LISTEN_RETRY_DELAY_S)
                continue
            self._server = server
            await server.start()
            return
