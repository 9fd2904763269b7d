"""`python -m bench.load.waiting ADDRESS COUNT`: callers whose streams get no response.

It prints `waiting: COUNT` when the server has accepted all streams, and holds them until this
process is ended.
"""

from __future__ import annotations

import asyncio
import sys

import grpc

from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

_A_CONNECTION = 100
"""Streams on one connection: servers should allow at least 100 (RFC 9113, 6.5.2)."""
_AT_ONCE = 100


async def _hold(address: str, count: int) -> None:
    opening = asyncio.Semaphore(_AT_ONCE)
    stubs = [EchoServiceStub(_connection(address)) for _ in range(-(-count // _A_CONNECTION))]

    async def held(number: int) -> grpc.aio.Call:
        async with opening:
            call = stubs[number // _A_CONNECTION].ServerStream(EchoRequest(count=1))
            await call.initial_metadata()
            return call

    calls = await asyncio.gather(*(held(number) for number in range(count)))
    if ended := [await call.code() for call in calls if call.done()]:
        raise SystemExit(f"{len(ended)} calls have ended: {ended[0]}")
    print(f"waiting: {len(calls)}", flush=True)
    await asyncio.Event().wait()


def _connection(address: str) -> grpc.aio.Channel:
    # Without a subchannel pool of its own, each channel would use the same connection.
    return grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))


if __name__ == "__main__":
    asyncio.run(_hold(sys.argv[1], int(sys.argv[2])))
