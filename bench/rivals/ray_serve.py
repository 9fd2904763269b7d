"""`ray_serve.py PORT HTTP_PORT FOLDER`, run in Ray's own environment: Add behind Ray Serve.

The setup follows "Performance Tuning" in Ray Serve's documentation: an `async` method, many
ongoing requests, and `RAY_SERVE_THROUGHPUT_OPTIMIZED`, which `bench.rivals` sets.
"""

from __future__ import annotations

import signal
import sys

import ray
from ray import serve
from ray.serve.config import ProxyLocation, gRPCOptions

from forebay.compute.v1 import compute_pb2 as pb

_SERVICER = "forebay.compute.v1.compute_pb2_grpc.add_ComputeServiceServicer_to_server"
_ONGOING = 1000


@serve.deployment(max_ongoing_requests=_ONGOING, ray_actor_options={"num_cpus": 0})
class Compute:
    """Computes the sum in the replica that receives the request."""

    async def Add(self, request: pb.AddRequest) -> pb.AddResponse:  # noqa: N802 - gRPC's name
        """Handles the call; the method's name must be that in the `.proto`."""
        return pb.AddResponse(sum=request.x + request.y)


def main(port: int, http_port: int, folder: str) -> None:
    """Serves until SIGTERM or SIGINT."""
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )
    serve.start(
        proxy_location=ProxyLocation.HeadOnly,
        http_options={"host": "127.0.0.1", "port": http_port},
        grpc_options=gRPCOptions(port=port, grpc_servicer_functions=[_SERVICER]),
    )
    serve.run(Compute.bind(), route_prefix="/")  # type: ignore[attr-defined] # Serve adds `bind`
    print(f"ready on 127.0.0.1:{port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()  # stops Serve too, at once; serve.shutdown() would drain for half a minute


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
