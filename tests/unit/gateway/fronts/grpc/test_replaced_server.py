"""A gRPC server that fails is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import pytest

from forebay_gateway.fronts.grpc.replaced_server import ReplacedServer
from forebay_gateway.server.port import reserved_port
from tests.faults.raw_http2 import RawConnection, request_headers
from tests.harness import short_folder

WHO, STAY = "/test.Service/Who", "/test.Service/Stay"
CONNECTIONS = 4


class Servers:
    """Makes servers that return their number; `Stay` sends it at once, and again when released."""

    def __init__(self) -> None:
        self.made = 0
        self.released = asyncio.Event()

    def make(self) -> grpc.aio.Server:
        self.made += 1
        number = str(self.made).encode()

        async def who(request: bytes, context: Any) -> bytes:
            return number

        async def stay(request: bytes, context: Any) -> AsyncIterator[bytes]:
            yield number
            await self.released.wait()
            yield number

        server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
        handlers = {
            "Who": grpc.unary_unary_rpc_method_handler(who),
            "Stay": grpc.unary_stream_rpc_method_handler(stay),  # type: ignore[arg-type]
        }
        generic = grpc.method_handlers_generic_handler("test.Service", handlers)
        server.add_generic_rpc_handlers((generic,))
        return server


@asynccontextmanager
async def serving(servers: Servers, listen: str) -> AsyncIterator[str]:
    replaced = ReplacedServer(servers.make, listen)
    await replaced.start()
    keeping = asyncio.create_task(replaced.keep_serving())
    try:
        yield replaced.address
    finally:
        keeping.cancel()
        await asyncio.wait([keeping])
        await replaced.stop(0)


@asynccontextmanager
async def channels(target: str) -> AsyncIterator[list[grpc.aio.Channel]]:
    """Channels, each with its own connection."""
    own = (("grpc.use_local_subchannel_pool", 1),)
    async with AsyncExitStack() as stack:
        made = [grpc.aio.insecure_channel(target, options=own) for _ in range(CONNECTIONS)]
        yield [await stack.enter_async_context(channel) for channel in made]


async def answering_server(channel: grpc.aio.Channel) -> bytes:
    """The number of the server that answers; a server that is about to fail may drop the call."""
    async with asyncio.timeout(30):
        while True:
            try:
                answer: bytes = await channel.unary_unary(WHO)(b"", wait_for_ready=True)
            except grpc.RpcError:
                continue
            return answer


async def test_a_server_listens_on_a_unix_socket() -> None:
    with short_folder() as folder:
        listen = f"unix:{folder}/s"
        async with serving(Servers(), listen), channels(listen) as several:
            assert {await answering_server(channel) for channel in several} == {b"1"}


async def test_a_failed_server_is_replaced_and_its_calls_continue() -> None:
    """A running call keeps the failed server from ending."""
    servers = Servers()
    with reserved_port("127.0.0.1:0") as listen:
        async with serving(servers, listen) as address, channels(address) as several:
            calls = [channel.unary_stream(STAY)(b"") for channel in several]
            assert [await call.read() for call in calls] == [b"1"] * CONNECTIONS
            await asyncio.to_thread(break_it, address)
            assert [await answering_server(channel) for channel in several] == [b"2"] * CONNECTIONS
            servers.released.set()
            assert [await call.read() for call in calls] == [b"1"] * CONNECTIONS


async def test_calls_of_a_server_that_has_failed_end_with_its_replacement() -> None:
    with reserved_port("127.0.0.1:0") as listen:
        async with channels(listen) as several:
            async with serving(Servers(), listen):
                call = several[0].unary_stream(STAY)(b"")
                assert await call.read() == b"1"
                await asyncio.to_thread(break_it, listen)
                assert await answering_server(several[0]) == b"2"
            with pytest.raises(grpc.RpcError):
                await call.read()


def break_it(address: str) -> None:
    """Ends the server by a path that is not UTF-8."""
    with RawConnection.greeted(address) as connection:
        connection.send(b"".join(connection.request(request_headers(b"/\xff\xfe"))))
        assert connection.reply().ended_properly
