"""`grpc.health.v1`: Check, Watch and List, for the gateway and for each service.

grpcio's servicer keeps the statuses and serves Check and Watch. This module adds List, and an
INVALID_ARGUMENT error for requests that can't be parsed.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2

from forebay_gateway.rpc.status import request_parser

SERVICE = health.SERVICE_NAME

_Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
_Response = health_pb2.HealthCheckResponse
_pb: Any = health_pb2  # types-grpcio-health-checking lacks List's messages


class HealthService:
    """The status of each service, and that of the gateway under the name "".

    `parts` has, for each service, the names of the parts of the gateway that run its methods: the
    main one is "", the others are applications of plain tasks. A service is SERVING while one of
    its parts is up, the gateway while one of its services is: so that an outage of one application
    takes no callers from the others.
    """

    def __init__(self, parts: Mapping[str, Collection[str]]) -> None:
        self._parts = parts
        self._up: set[str] = set()
        self._statuses: dict[str, Any] = {}
        self._servicer = health.aio.HealthServicer()
        self._draining = False

    async def set_up(self, part: str, is_up: bool) -> None:
        """Notes whether a part is up, and sends each status that changes to its watchers."""
        (self._up.add if is_up else self._up.discard)(part)
        await self.publish()

    async def publish(self) -> None:
        """Sends each status that has changed since the last time."""
        serving = {name: not self._up.isdisjoint(parts) for name, parts in self._parts.items()}
        serving[""] = any(serving.values())
        for name, is_serving in serving.items():
            up = is_serving and not self._draining
            status = _Response.SERVING if up else _Response.NOT_SERVING
            if self._statuses.get(name) != status:
                self._statuses[name] = status
                await self._servicer.set(name, status)

    async def drain(self) -> None:
        """Sets NOT_SERVING for good."""
        self._draining = True
        self._statuses = dict.fromkeys(self._statuses, _Response.NOT_SERVING)
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
            return _pb.HealthListResponse(
                statuses={name: _Response(status=status) for name, status in self._statuses.items()}
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
