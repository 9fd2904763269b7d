"""`python -m bench.rivals.servicer THREADS`: a hand-written servicer that calls a Celery task.

Each of its threads hands one call to the tutorial's task and waits for the result.
"""

from __future__ import annotations

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from forebay.compute.v1.compute_pb2 import AddRequest, AddResponse

_TIMEOUT_S = 30.0


def main(threads: int) -> None:
    """Serves until the process is ended."""
    task = importlib.import_module("add_module").add_two_numbers

    def add(request: AddRequest, context: grpc.ServicerContext) -> AddResponse:
        result = task.apply_async((request.x, request.y))
        return AddResponse(sum=result.get(timeout=_TIMEOUT_S))

    server = grpc.server(ThreadPoolExecutor(threads))
    handler = grpc.unary_unary_rpc_method_handler(
        add, AddRequest.FromString, AddResponse.SerializeToString
    )
    service = "forebay.compute.v1.ComputeService"
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {"Add": handler}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(f"ready on 127.0.0.1:{port}", flush=True)
    server.wait_for_termination()


if __name__ == "__main__":
    main(int(sys.argv[1]))
