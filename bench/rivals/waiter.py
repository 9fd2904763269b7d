"""`python -m bench.rivals.waiter`: a bare `grpc.aio` server whose streams never end.

Its method has the path of EchoService's ServerStream. As a gateway does, it sends initial metadata
when it has accepted a call.
"""

from __future__ import annotations

import asyncio

import grpc

from bench.rivals.serving import serve


async def _wait(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    await context.send_initial_metadata(())
    await asyncio.Event().wait()


if __name__ == "__main__":
    serve("tests.echo.v1.EchoService", "ServerStream", grpc.unary_stream_rpc_method_handler(_wait))
