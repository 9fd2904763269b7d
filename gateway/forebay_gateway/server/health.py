"""`grpc.health.v1`: Check, Watch and List, for the gateway and for each service.

grpcio's servicer keeps the statuses and serves Check and Watch. This module adds List, and an
INVALID_ARGUMENT error for requests that can't be parsed.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2

from forebay_gateway.rpc.status import request_parser

SERVICE = health.SERVICE_NAME

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Response = health_pb2.HealthCheckResponse
_pb: Any = health_pb2  # types-grpcio-health-checking lacks List's messages


class HealthService:
    """One status, which all services share: they depend on the same backends."""

    def __init__(self, services: Sequence[str]) -> None:
        self._names = ("", *services)
        self._servicer = health.aio.HealthServicer()
        self._serving = False
        self._draining = False

    async def set_serving(self, serving: bool) -> None:
        """Sets the status of the gateway and of each service, which sends it to all watchers."""
        self._serving = serving and not self._draining
        status = _Response.SERVING if serving else _Response.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)

    async def drain(self) -> None:
        """Sets NOT_SERVING for good."""
        self._serving, self._draining = False, True
        await self._servicer.enter_graceful_shutdown()

    def handler(self) -> grpc.GenericRpcHandler:
        parse = request_parser(health_pb2.HealthCheckRequest)
        parse_list = request_parser(_pb.HealthListRequest)

        async def check(request: bytes, context: _Context) -> object:
            return await self._servicer.Check(await parse(request, context), context)

        async def watch(request: bytes, context: _Context) -> None:
            await self._servicer.Watch(await parse(request, context), context)

        async def list_all(request: bytes, context: _Context) -> object:
            await parse_list(request, context)
            status = _Response.SERVING if self._serving else _Response.NOT_SERVING
            return _pb.HealthListResponse(
                statuses={name: _Response(status=status) for name in self._names}
            )

        serialize = _Response.SerializeToString
        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                "Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=serialize),
                "Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=serialize),
                "List": grpc.unary_unary_rpc_method_handler(
                    list_all,
                    response_serializer=_pb.HealthListResponse.SerializeToString,
                ),
            },
        )
