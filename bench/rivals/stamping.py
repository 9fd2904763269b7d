"""A bare `grpc.aio` server with the same stream as `bench.stamping`, which runs behind Forebay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import grpc

from bench.rivals.serving import serve
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse


async def _stream(
    request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]
) -> AsyncIterator[bytes]:
    asked = EchoRequest.FromString(request)
    for index in range(asked.count):
        await asyncio.sleep(asked.seconds)
        response = EchoResponse(text=str(time.monotonic_ns()), index=index)
        yield response.SerializeToString()


if __name__ == "__main__":
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(_stream)
    serve("tests.echo.v1.EchoService", "ServerStream", handler)
