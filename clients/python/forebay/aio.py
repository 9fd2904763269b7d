"""The Python client for asyncio: `forebay.aio.connect`, the twin of `forebay.connect`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.channels import dial
from forebay.client import call_metadata
from forebay.compute.assembly import (
    IntegerAssembly,
    OnProgress,
    factorial_request,
    tell,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.resume.aio_channel import ResumingChannel
from forebay.resume.targets import read_targets
from forebay.rpc_errors import mapped_rpc_errors

if TYPE_CHECKING:
    from forebay.compute.arrays import Array
    from forebay.compute.v1.compute_pb2_grpc import ComputeServiceAsyncStub


def connect(target: str | Sequence[str], *, resume: bool = True) -> AsyncClient:
    """As `forebay.connect`. Call it in the event loop that is to use the client."""
    return AsyncClient(channel(target, resume=resume))


def channel(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
    pool: DescriptorPool | None = None,
) -> grpc.aio.Channel:
    """As `forebay.channel`. Call it in the event loop that is to use the channel."""
    return ResumingChannel(
        [dial(grpc.aio, one, credentials, options) for one in read_targets(target)],
        resumes=resume,
        pool=pool,
    )


class AsyncClient:
    """As `forebay.Client`, for one event loop; cancelling an awaiting task cancels its call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        resuming = isinstance(channel, ResumingChannel)
        self._channel = channel if resuming else ResumingChannel([channel])
        self.stub: ComputeServiceAsyncStub = ComputeServiceStub(self._channel)

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
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            async for response in call:
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
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            async for response in call:
                if not tell(response, progress) and response.digits:
                    yield response.digits

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

        return await self._product([random_request(m, n, seed, dtype)], progress, timeout, call_id)

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
        requests: Iterable[pb.MatMulRequest],
        progress: OnProgress | None,
        timeout: float | None,
        call_id: str | None,
    ) -> Array:
        from forebay.compute.products import ProductAssembly

        assembly = ProductAssembly()
        # A channel of ours takes whatever can be iterated, and iterates it anew to send it again.
        stream = cast("Iterator[pb.MatMulRequest]", requests)
        call = self.stub.MatMul(stream, timeout=timeout, metadata=call_metadata(call_id))
        with mapped_rpc_errors(), _left_at_the_end(call):
            async for response in call:
                if not tell(response, progress):
                    assembly.feed(response)
        return assembly.result()


@contextmanager
def _left_at_the_end(call: grpc.aio.Call) -> Iterator[None]:
    """Whoever leaves the block before the call has ended has no use for it any more."""
    try:
        yield
    finally:
        call.cancel()
