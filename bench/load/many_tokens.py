"""`python -m bench.load.many_tokens ADDRESS FILE`: makes a call with each token of the file.

It prints `ready`, waits for a line on its standard input, and makes the calls, 16 at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from pathlib import Path

import grpc

from forebay.v1.calls_pb2 import WhoAmIRequest
from forebay.v1.calls_pb2_grpc import CallServiceStub

_AT_ONCE = 16
_TIMEOUT_S = 60.0


async def _call(address: str, tokens: list[str]) -> None:
    at_once = asyncio.Semaphore(_AT_ONCE)
    async with grpc.aio.insecure_channel(address) as channel:
        stub = CallServiceStub(channel)
        await channel.channel_ready()
        print("ready", flush=True)
        sys.stdin.readline()

        async def one(token: str) -> None:
            metadata = (("authorization", f"Bearer {token}"),)
            async with at_once:
                with contextlib.suppress(grpc.aio.AioRpcError):  # tokens may be invalid
                    await stub.WhoAmI(WhoAmIRequest(), metadata=metadata, timeout=_TIMEOUT_S)

        await asyncio.gather(*map(one, tokens))


if __name__ == "__main__":
    asyncio.run(_call(sys.argv[1], Path(sys.argv[2]).read_text().split()))
