"""The servicer; a request's `act` names its probe."""

from __future__ import annotations

from typing import Any

import grpc

from tests.echo.v1 import echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.servicers.probing.streams import REQUEST_PROBES, STREAMS
from tests.servicers.probing.unary import PROBES


class Probing(echo_pb2_grpc.EchoServiceServicer):
    """All four kinds of methods; a handler returns the result of its probe."""

    def Unary(self, request: EchoRequest, context: grpc.ServicerContext) -> Any:
        return PROBES[request.act](request, context)

    Quick = Unary

    def ServerStream(self, request: EchoRequest, context: grpc.ServicerContext) -> Any:
        return STREAMS[request.act](request, context)

    def ClientStream(self, requests: Any, context: grpc.ServicerContext) -> Any:
        return REQUEST_PROBES[next(requests).act](requests, context)

    Listen = ClientStream

    def Bidi(self, requests: Any, context: grpc.ServicerContext) -> Any:
        return STREAMS[next(requests).act](requests, context)

    Talk = Bidi
