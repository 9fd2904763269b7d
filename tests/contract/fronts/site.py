"""A front in a thread of its own, with handlers that tests steer."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import grpc

from forebay_gateway.fronts.front import Front
from forebay_gateway.fronts.grpc.front import grpc_front
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.fronts.native.front import NativeFront
from forebay_gateway.rpc.context import Context, FindHandler, Handler
from forebay_gateway.tls.server_tls import ServerTls

KINDS = ("grpc", "native")
MIB = 1 << 20
LIMITS = FrontLimits(
    max_request_bytes=4 * MIB, max_response_bytes=8 * MIB, max_connections=500, max_streams=1_000
)
_TIMEOUT_S = 20.0
SERVICE = "test.Service"


def path(name: str) -> str:
    return f"/{SERVICE}/{name}"


class Request:
    """A part of a call that must not outlive it; refers to the call's task."""

    def __init__(self, limit: asyncio.Timeout) -> None:
        self.limit = limit


@dataclass
class Site:
    """A front that serves. Handlers report to `events`; `Lazy` goes on at `go`."""

    kind: str
    address: str = ""
    front: Front | None = None
    events: queue.Queue[str] = field(default_factory=queue.Queue)
    written: int = 0
    held: list[weakref.ref[Request]] = field(default_factory=list)
    loop: asyncio.AbstractEventLoop | None = None
    going: asyncio.Event | None = None
    keeping: asyncio.Task[None] | None = None

    def event(self) -> str:
        return self.events.get(timeout=_TIMEOUT_S)

    def forget_events(self) -> None:
        self.events.queue.clear()

    async def stop(self, grace_s: float) -> None:
        """Ends the front, in its loop."""
        assert self.front is not None
        assert self.keeping is not None
        self.keeping.cancel()
        await self.front.stop(grace_s)

    def go(self) -> None:
        assert self.loop is not None
        assert self.going is not None
        self.loop.call_soon_threadsafe(self.going.set)

    def run(self, make: Callable[[], Awaitable[Any]]) -> Any:
        """Awaits in the front's event loop."""
        assert self.loop is not None

        async def awaited() -> Any:
            return await make()

        return asyncio.run_coroutine_threadsafe(awaited(), self.loop).result(_TIMEOUT_S)


MakeFront = Callable[[FindHandler, FrontLimits], Front]


@contextmanager
def serving(
    kind: str,
    listen: str = "127.0.0.1:0",
    tls: ServerTls | None = None,
    make: MakeFront | None = None,
    **limits: float,
) -> Iterator[Site]:
    """A front of that kind, or what `make` returns."""
    site = Site(kind)
    ready, stopped = threading.Event(), threading.Event()
    failure: list[BaseException] = []
    end = asyncio.Event()

    async def main() -> None:
        site.loop, site.going = asyncio.get_running_loop(), asyncio.Event()
        kept: Any = replace(LIMITS, **limits)  # type: ignore[arg-type]
        find = Handlers(site).find
        if make is not None:
            site.front = make(find, kept)
        elif kind == "grpc":
            site.front = grpc_front(find, listen, kept, reuse_port=False, tls=tls)
        else:
            site.front = NativeFront(find, [listen], kept, reuse_port=False, tls=tls)
        await site.front.start()
        site.keeping = asyncio.create_task(site.front.keep_serving())
        site.address = site.front.address
        ready.set()
        await end.wait()
        await site.stop(0.1)

    def thread() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:
            failure.append(error)
        ready.set()
        stopped.set()

    threading.Thread(target=thread, daemon=True).start()
    assert ready.wait(_TIMEOUT_S)
    try:
        if failure:
            raise failure[0]
        yield site
    finally:
        if site.loop is not None and not stopped.is_set():
            site.loop.call_soon_threadsafe(end.set)
        assert stopped.wait(_TIMEOUT_S)
        assert not failure, failure


class Handlers:
    """Handlers of all four kinds, by the last part of the path."""

    def __init__(self, site: Site) -> None:
        self._site = site
        streams = {"Count", "Chat", "HangAfter", "Flood", "Nothing", "Quiet"}
        unary = {"Echo", "Sum", "Headers", "Abort", "Hang", "Lazy", "Fail", "Silent", "Big"}
        unary |= {"Hold", "Here", "Refused"}
        self._handlers = {
            path(name): Handler(getattr(self, f"_{_snake(name)}"), name in streams)
            for name in streams | unary
        }

    def find(self, method: str) -> Handler:
        return self._handlers.get(method) or Handler(self._unknown, streams_responses=True)

    async def _unknown(self, context: Context) -> None:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "no such method")

    async def _echo(self, context: Context) -> bytes:
        return await _read(context)

    async def _sum(self, context: Context) -> bytes:
        sizes = []
        while (request := await context.read()) is not grpc.aio.EOF:
            assert isinstance(request, bytes)
            sizes.append(len(request))
        return b"%d %d" % (len(sizes), sum(sizes))

    async def _count(self, context: Context) -> None:
        count, size = map(int, (await _read(context)).split())
        for number in range(count):
            await context.write(bytes((number % 256,)) * size)

    async def _chat(self, context: Context) -> None:
        while (request := await context.read()) is not grpc.aio.EOF:
            assert isinstance(request, bytes)
            await context.write(request)

    async def _nothing(self, context: Context) -> None:
        await _read(context)

    async def _big(self, context: Context) -> bytes:
        size = int(await _read(context))
        self._site.written += 1
        return bytes(size)

    async def _headers(self, context: Context) -> bytes:
        await _read(context)
        await context.send_initial_metadata((("initial", "1"), ("initial-bin", b"\x00\xff,")))
        context.set_trailing_metadata((("trailing", "a b"), ("trailing-bin", b"\x01")))
        pairs = [
            (key, value.hex() if isinstance(value, bytes) else value)
            for key, value in context.invocation_metadata() or ()
        ]
        left_s = context.time_remaining()
        peer, auth = context.peer(), context.auth_context()
        names = {key: [one.decode() for one in values] for key, values in auth.items()}
        return json.dumps({"pairs": pairs, "left_s": left_s, "peer": peer, "auth": names}).encode()

    async def _abort(self, context: Context) -> bytes:
        name, text = (await _read(context)).decode().split("\n", 1)
        await context.abort(grpc.StatusCode[name], text, (("reason", "so"), ("why-bin", b"\xff")))

    async def _refused(self, context: Context) -> bytes:
        """Reads nothing, as a gateway that is full."""
        await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "full")

    async def _hang(self, context: Context) -> bytes:
        self._site.events.put("began")
        return await self._until_cancelled()

    async def _quiet(self, context: Context) -> None:
        await asyncio.Event().wait()

    async def _hang_after(self, context: Context) -> None:
        await _read(context)
        await context.write(b"first")
        await self._until_cancelled()

    async def _silent(self, context: Context) -> bytes:
        """Reads nothing."""
        return b"done"

    async def _hold(self, context: Context) -> bytes:
        """Hangs, with a local variable that refers to its task."""
        await _read(context)
        async with asyncio.timeout(None) as limit:
            request = Request(limit)
            self._site.held.append(weakref.ref(request))
            self._site.events.put("began")
            await self._until_cancelled()
        return b""

    async def _lazy(self, context: Context) -> bytes:
        """Reads the second request when the test says so."""
        await _read(context)
        self._site.events.put("one")
        assert self._site.going is not None
        await self._site.going.wait()
        self._site.going.clear()
        return await self._sum(context)

    async def _here(self, context: Context) -> bytes:
        """Takes what has arrived when the test says so, then waits for the rest."""
        taken = [await _read(context)]
        self._site.events.put("one")
        assert self._site.going is not None
        await self._site.going.wait()
        self._site.going.clear()
        while (here := context.read_now()) is not None:
            taken.append(here)
        self._site.events.put(f"{len(taken)} are here")
        while (request := await context.read()) is not grpc.aio.EOF:
            assert isinstance(request, bytes)
            taken.append(request)
        assert context.read_now() is None
        return b" ".join(taken)

    async def _fail(self, context: Context) -> bytes:
        await _read(context)
        raise LookupError("secret")

    async def _flood(self, context: Context) -> None:
        await _read(context)
        self._site.written = 0
        try:
            while True:
                await context.write(bytes(MIB // 16))
                self._site.written += 1
        except asyncio.CancelledError:
            self._site.events.put("cancelled")
            raise

    async def _until_cancelled(self) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self._site.events.put("cancelled")
            raise
        raise AssertionError


async def _read(context: Context) -> bytes:
    request = await context.read()
    assert isinstance(request, bytes)
    return request


def _snake(name: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
