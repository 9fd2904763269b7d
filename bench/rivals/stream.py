"""`python -m bench.rivals.stream`: bytes up, then bytes down, in messages of 1 MiB, nothing else.

What moving operands and a product costs by gRPC in Python, without protobuf or
computation: the messages are the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator

import grpc

CHUNK_BYTES = 1 << 20
_PATH = "/bench.Stream/Exchange"
_DOWN_BYTES = "down-bytes"
_TIMEOUT_S = 120.0


def exchange(channel: grpc.Channel, up: Iterable[memoryview | bytes], down_bytes: int) -> int:
    """Sends the buffers, chunk by chunk, then reads so many bytes; how many came."""
    call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(_PATH)
    metadata = ((_DOWN_BYTES, str(down_bytes)),)
    down = call(_chunks(up), timeout=_TIMEOUT_S, metadata=metadata)
    return sum(len(chunk) for chunk in down)


def _chunks(buffers: Iterable[memoryview | bytes]) -> Iterator[bytes]:
    for buffer in buffers:
        whole = memoryview(buffer).cast("B")
        for at in range(0, len(whole), CHUNK_BYTES):
            yield bytes(whole[at : at + CHUNK_BYTES])


async def _exchange(
    requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext[bytes, bytes]
) -> AsyncIterator[bytes]:
    async for _ in requests:
        pass
    left = int(dict(context.invocation_metadata() or ())[_DOWN_BYTES])
    chunk = bytes(CHUNK_BYTES)
    while left > 0:
        yield chunk[:left]
        left -= CHUNK_BYTES


async def _serve() -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Exchange": grpc.stream_stream_rpc_method_handler(_exchange)
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.Stream", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
