"""A bare `grpc.aio` server with Add's path: it shows the cost of gRPC in Python alone.

It answers with the request's bytes. They are also a valid AddResponse, since field 1 is a double
in both messages. So callers of Add can call this server too.
"""

from __future__ import annotations

import grpc

from bench.rivals.serving import serve


async def _echo(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
    return request


if __name__ == "__main__":
    serve("forebay.compute.v1.ComputeService", "Add", grpc.unary_unary_rpc_method_handler(_echo))
