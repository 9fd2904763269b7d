"""A `grpc.aio.server` in a thread of this process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

_WAIT_S = 10.0


@contextmanager
def aio_server(*adders: Callable[[Any], None], interceptors: Sequence[Any] = ()) -> Iterator[str]:
    """The address of a server; each adder adds a servicer to it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="aio-server", daemon=True)
    thread.start()

    async def started() -> tuple[Any, int]:
        server = grpc.aio.server(interceptors=interceptors)
        for add in adders:
            add(server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return server, port

    server, port = asyncio.run_coroutine_threadsafe(started(), loop).result(_WAIT_S)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        asyncio.run_coroutine_threadsafe(server.stop(None), loop).result(_WAIT_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_WAIT_S)
        loop.close()
