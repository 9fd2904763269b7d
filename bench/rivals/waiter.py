"""`python -m bench.rivals.waiter`: a bare `grpc.aio` server whose streams wait for ever.

It has the name of the echo service. As a gateway does, it sends initial metadata when it has
taken a call.
"""

from __future__ import annotations

import asyncio

import grpc


async def _wait(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
    await context.send_initial_metadata(())
    await asyncio.Event().wait()


async def _serve() -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "ServerStream": grpc.unary_stream_rpc_method_handler(_wait)
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("tests.echo.v1.EchoService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
