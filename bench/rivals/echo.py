"""A bare `grpc.aio` server under Add's name: what gRPC in Python costs by itself.

It answers with the request's bytes. An AddRequest reads as an AddResponse, since
field 1 is a double in both, so that the same caller measures it.
"""

from __future__ import annotations

import asyncio

import grpc


async def _echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


async def _serve() -> None:
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "Add": grpc.unary_unary_rpc_method_handler(_echo)
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("forebay.compute.v1.ComputeService", handlers),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve())
