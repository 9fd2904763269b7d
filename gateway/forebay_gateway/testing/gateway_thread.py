"""Runs a gateway in a thread, with its own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

from forebay.routes import Method
from forebay_backends.settings import Settings
from forebay_gateway.server.gateway import running_gateway

START_TIMEOUT_S = 30.0


@contextmanager
def gateway_in_thread(settings: Settings, methods: Sequence[Method]) -> Iterator[str]:
    """Serves the methods until the block is left; yields the address, HOST:PORT.

    Raises the errors of `running_gateway`.
    """
    started: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        async with running_gateway(settings, methods) as address:
            started.set_result((address, asyncio.get_running_loop(), stop))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    thread = threading.Thread(target=run, name="forebay-gateway", daemon=True)
    thread.start()
    address, loop, stop = started.result(START_TIMEOUT_S)
    try:
        yield address
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
