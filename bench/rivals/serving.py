"""A bare `grpc.aio` server of one method; it prints its address.

The program's argument is the address; several processes may share it (gRPC uses SO_REUSEPORT).
Without an argument, the server takes a free port.
"""

from __future__ import annotations

import asyncio
import sys

import grpc


def serve(service: str, method: str, handler: grpc.RpcMethodHandler[bytes, bytes]) -> None:
    """Serves until the process is ended."""
    asyncio.run(_serve(service, {method: handler}))


async def _serve(service: str, handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]]) -> None:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    port = server.add_insecure_port(sys.argv[1] if sys.argv[1:] else "127.0.0.1:0")
    await server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()
