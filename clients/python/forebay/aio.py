"""The Python client for asyncio: `forebay.aio.connect`, the twin of `forebay.connect`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from forebay.client import CHANNEL_OPTIONS, call_metadata
from forebay.compute.assembly import (
    IntegerAssembly,
    OnProgress,
    factorial_request,
    tell,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.rpc_errors import mapped_rpc_errors

if TYPE_CHECKING:
    from forebay.compute.arrays import Array
    from forebay.compute.v1.compute_pb2_grpc import ComputeServiceAsyncStub


def connect(target: str) -> AsyncClient:
    """A client of the gateway at HOST:PORT; it connects when first used. Close it.

    Call it in the event loop that is to use the client.
    """
    return AsyncClient(grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS))


class AsyncClient:
    """As `forebay.Client`, for one event loop; cancelling an awaiting task cancels its call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self.stub: ComputeServiceAsyncStub = ComputeServiceStub(channel)

    async def add(
        self, x: float, y: float, *, timeout: float | None = None, call_id: str | None = None
    ) -> float:
        """As `Client.add`."""
        with mapped_rpc_errors():
            response = await self.stub.Add(
                pb.AddRequest(x=x, y=y), timeout=timeout, metadata=call_metadata(call_id)
            )
        return response.sum

    async def factorial(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> int:
        """As `Client.factorial`."""
        request = factorial_request(n, pb.INTEGER_ENCODING_BINARY)
        assembly = IntegerAssembly()
        with mapped_rpc_errors():
            async for response in self.stub.Factorial(
                request, timeout=timeout, metadata=call_metadata(call_id)
            ):
                if not tell(response, progress):
                    assembly.feed(response)
        return assembly.result()

    async def factorial_digits(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> AsyncIterator[str]:
        """As `Client.factorial_digits`."""
        request = factorial_request(n, pb.INTEGER_ENCODING_DECIMAL)
        with mapped_rpc_errors():
            responses = self.stub.Factorial(
                request, timeout=timeout, metadata=call_metadata(call_id)
            )
            try:
                async for response in responses:
                    if not tell(response, progress) and response.digits:
                        yield response.digits
            finally:
                responses.cancel()

    async def matmul(
        self,
        a: Array,
        b: Array,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Array:
        """As `Client.matmul`."""
        from forebay.compute.products import product_requests

        return await self._product(product_requests(a, b), progress, timeout, call_id)

    async def random_matmul(
        self,
        m: int,
        n: int,
        seed: int | None = None,
        *,
        dtype: Any = "float64",
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> Array:
        """As `Client.random_matmul`."""
        from forebay.compute.products import random_request

        requests = iter([random_request(m, n, seed, dtype)])
        return await self._product(requests, progress, timeout, call_id)

    async def close(self) -> None:
        """Closes the connection; calls in flight are cancelled."""
        await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _product(
        self,
        requests: Iterator[pb.MatMulRequest],
        progress: OnProgress | None,
        timeout: float | None,
        call_id: str | None,
    ) -> Array:
        from forebay.compute.products import ProductAssembly

        assembly = ProductAssembly()
        with mapped_rpc_errors():
            async for response in self.stub.MatMul(
                requests, timeout=timeout, metadata=call_metadata(call_id)
            ):
                if not tell(response, progress):
                    assembly.feed(response)
        return assembly.result()
