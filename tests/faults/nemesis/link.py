"""A member's connection to Redis: a proxy that can be cut or silenced.

All links share one thread with an event loop of its own, so that what the test does
meanwhile does not hold up the members.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

_BUFFER_BYTES = 1 << 16


class Link:
    """Forwards bytes in both directions, unless it is cut or silent. Uses the loop of `links`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target_port: int) -> None:
        self._loop = loop
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._cut = False
        self.port = 0

    async def listen(self) -> None:
        """Begins to accept connections, on `port`."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Breaks all connections, and every new one."""
        self._loop.call_soon_threadsafe(self._do_cut)

    def silence(self) -> None:
        """Forwards nothing; connections stay open, and new ones are accepted."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def heal(self) -> None:
        """Forwards everything again."""
        self._loop.call_soon_threadsafe(self._do_heal)

    async def close(self) -> None:
        """Breaks everything for good."""
        if self._server is not None:
            self._server.close()
        self._do_cut()
        self._passing.set()

    def _do_cut(self) -> None:
        self._cut = True
        for writer in self._writers:
            writer.transport.abort()

    def _do_heal(self) -> None:
        self._cut = False
        self._passing.set()

    async def _accept(
        self, from_member: asyncio.StreamReader, to_member: asyncio.StreamWriter
    ) -> None:
        self._writers.add(to_member)
        try:
            await self._passing.wait()
            if self._cut:
                return
            from_redis, to_redis = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(to_redis)
            try:
                await asyncio.gather(
                    self._pass_on(from_member, to_redis), self._pass_on(from_redis, to_member)
                )
            finally:
                self._writers.discard(to_redis)
                to_redis.transport.abort()
        except OSError:
            pass
        finally:
            self._writers.discard(to_member)
            to_member.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while True:
            passed = await source.read(_BUFFER_BYTES)
            await self._passing.wait()
            if not passed:
                raise ConnectionError("the other end has closed")
            sink.write(passed)
            await sink.drain()


class Links:
    """The thread that all links share."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="links")
        self._thread.start()
        self._links: list[Link] = []

    def to(self, port: int) -> Link:
        """A link to a server on this machine; it listens."""
        link = self._run(self._make(port))
        self._links.append(link)
        return link

    def close(self) -> None:
        """Breaks all links and ends the thread."""
        for link in self._links:
            self._run(link.close())
        self._run(self._finish())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _make(self, port: int) -> Link:
        link = Link(self._loop, port)
        await link.listen()
        return link

    async def _finish(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)


@contextlib.contextmanager
def links() -> Iterator[Links]:
    """Links that last until the block is left."""
    made = Links()
    try:
        yield made
    finally:
        made.close()
