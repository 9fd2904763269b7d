"""Connections that are passed on to a Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay_backends.aio.polling import poll_until
from forebay_gateway.admin_server.relay import Relay
from tests.harness import short_folder

TIMEOUT_S = 30.0


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers what it has read when the other end has sent all."""
    writer.write((await reader.read()).upper())
    writer.close()


@asynccontextmanager
async def relayed(relays: list[Relay]) -> AsyncIterator[int]:
    """A port whose connections are relayed; they are added to `relays`."""

    def accepted() -> Relay:
        relays.append(Relay([path]))
        return relays[-1]

    with short_folder() as folder:
        path = str(folder / "far")
        far = await asyncio.start_unix_server(shout, path)
        near = await asyncio.get_running_loop().create_server(accepted, "127.0.0.1", 0)
        async with far, near:
            yield near.sockets[0].getsockname()[1]


async def test_one_direction_may_end_before_the_other() -> None:
    async with relayed([]) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"all of it")
        writer.write_eof()
        assert await reader.read() == b"ALL OF IT"
        writer.close()


async def test_both_ends_are_closed_when_both_directions_have_ended() -> None:
    relays: list[Relay] = []
    async with relayed(relays) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write_eof()
        await reader.read()
        (relay,) = relays
        assert relay.peer is not None
        ends = (relay.transport, relay.peer.transport)
        await poll_until(lambda: all(end.is_closing() for end in ends if end), TIMEOUT_S)
        assert all(end is not None and end.is_closing() for end in ends)
        writer.close()
