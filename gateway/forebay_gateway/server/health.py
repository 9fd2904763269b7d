"""`grpc.health.v1`: Check, Watch and List, for the gateway and for each service.

grpcio's servicer is not used: while it writes to one watcher, all others and the next status wait.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2

from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.own_methods import OwnMethod, by_path, server_streaming, unary

SERVICE = health.SERVICE_NAME

_Request, _Response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
_pb: Any = health_pb2  # types-grpcio-health-checking lacks List's messages


class HealthService:
    """The status of each service, and that of the gateway under the name "".

    `parts` has, for each service, the names of the parts of the gateway that run its methods: the
    main one is "", the others are applications of plain tasks. A service is SERVING while one of
    its parts is up, the gateway while one of its services is: so that an outage of one application
    takes no callers from the others. The main part is up while all of its `needs` are met.
    """

    def __init__(self, parts: Mapping[str, Collection[str]], needs: Iterable[str] = ()) -> None:
        self._parts = {**parts, "": {part for names in parts.values() for part in names}}
        self._unmet = set(needs)
        self._up: set[str] = set()
        self._changed = asyncio.Event()
        self._draining = False

    async def set_met(self, need: str, is_met: bool) -> None:
        """Notes whether a need of the main part is met."""
        (self._unmet.discard if is_met else self._unmet.add)(need)
        await self.set_up("", not self._unmet)

    async def set_up(self, part: str, is_up: bool) -> None:
        """Notes whether a part is up; each watcher gets its status if that changes."""
        (self._up.add if is_up else self._up.discard)(part)
        self._wake_watchers()

    def drain(self) -> None:
        """Sets NOT_SERVING for good."""
        self._draining = True
        self._wake_watchers()

    def own_methods(self) -> dict[str, OwnMethod]:
        """The methods of the service, by their paths."""
        methods = {
            "Check": unary(_Request, self._check),
            "Watch": server_streaming(_Request, self._watch),
            "List": unary(_pb.HealthListRequest, self._list),
        }
        return by_path(SERVICE, methods)

    @property
    def is_serving(self) -> bool:
        """Whether the gateway's status is SERVING."""
        return bool(self._status("") == _Response.SERVING)

    @property
    def statuses(self) -> dict[str, Any]:
        """The statuses by the names of the services."""
        return {name: self._status(name) for name in self._parts}

    async def _check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        if request.service not in self._parts:
            await context.abort(grpc.StatusCode.NOT_FOUND)
        return _Response(status=self._status(request.service))

    async def _watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        sent = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != sent:
                sent = status
                yield _Response(status=status)
            else:
                await changed.wait()

    async def _list(self, request: Any, context: Context) -> Any:
        return _pb.HealthListResponse(
            statuses={name: _Response(status=status) for name, status in self.statuses.items()}
        )

    def _status(self, name: str) -> Any:
        parts = self._parts.get(name)
        if parts is None:
            return _Response.SERVICE_UNKNOWN
        is_up = not self._draining and not self._up.isdisjoint(parts)
        return _Response.SERVING if is_up else _Response.NOT_SERVING

    def _wake_watchers(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
