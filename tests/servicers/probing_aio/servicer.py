"""The servicer; a request's `act` names its probe."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from tests.echo.v1 import echo_pb2_grpc
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.servicers.probing_aio.streams import REQUEST_PROBES, STREAMS, WRITERS
from tests.servicers.probing_aio.unary import PROBES, until_cancelled


class AioProbing(echo_pb2_grpc.EchoServiceServicer):
    """All four kinds of methods, as coroutines and asynchronous generators."""

    async def Unary(self, request: EchoRequest, context: Any) -> Any:  # type: ignore[override]
        if request.act == "until cancelled":
            return await until_cancelled(request, context)
        return await PROBES[request.act](request, context)

    Quick = Unary  # type: ignore[assignment]

    async def ServerStream(  # type: ignore[override]
        self, request: EchoRequest, context: Any
    ) -> AsyncIterator[EchoResponse]:
        async for response in STREAMS[request.act](request, context):
            yield response

    async def Detached(self, request: EchoRequest, context: Any) -> Any:  # type: ignore[override]
        return await WRITERS[request.act](request, context)

    async def ClientStream(self, requests: Any, context: Any) -> Any:  # type: ignore[override]
        first = await context.read()
        return await REQUEST_PROBES[first.act](requests, context)

    Listen = ClientStream  # type: ignore[assignment]

    async def Bidi(  # type: ignore[override]
        self, requests: Any, context: Any
    ) -> AsyncIterator[EchoResponse]:
        first = await anext(aiter(requests))
        async for response in STREAMS[first.act](requests, context):
            yield response

    async def Talk(self, requests: Any, context: Any) -> Any:  # type: ignore[override]
        first = await context.read()
        return await WRITERS[first.act](requests, context)

    def Nothing(self, request: Any, context: Any) -> Any:
        """An ordinary method of the same servicer."""
        context.set_trailing_metadata((("x-ordinary", "yes"),))
        return request
