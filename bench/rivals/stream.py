"""`python -m bench.rivals.stream`: a bare gRPC server that takes bytes, then returns bytes.

It shows the cost of moving operands and a product over gRPC in Python, without protobuf
and without computation. The messages are plain bytes, at most 1 MiB each.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator

import grpc

from bench.rivals.serving import serve

CHUNK_BYTES = 1 << 20
_PATH = "/bench.Stream/Exchange"
_DOWN_BYTES = "down-bytes"
_TIMEOUT_S = 120.0


def exchange(channel: grpc.Channel, up: Iterable[memoryview | bytes], down_bytes: int) -> int:
    """Sends the buffers, chunk by chunk, then reads the response; returns its size."""
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


if __name__ == "__main__":
    serve("bench.Stream", "Exchange", grpc.stream_stream_rpc_method_handler(_exchange))
