"""Add: a sum of two IEEE 754 doubles."""

from __future__ import annotations

import grpc

from forebay.compute.v1 import compute_pb2 as pb


def add(request: pb.AddRequest, context: grpc.ServicerContext) -> pb.AddResponse:
    """Returns x + y; NaN and infinities, too, follow IEEE 754."""
    return pb.AddResponse(sum=request.x + request.y)
