"""The Python client for asyncio: `forebay.aio.connect`, as `forebay.connect`."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.channels import aio_dial
from forebay.compute.assembly import (
    OnProgress,
    ResponseT,
    ResultT,
    StreamingRpc,
    factorial_request,
    factorial_rpc,
    report_progress,
)
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.credentials.tokens import AsyncToken, check_token
from forebay.metadata import call_metadata
from forebay.resume.aio_channel import ResumingChannel
from forebay.resume.targets import read_targets
from forebay.routes.file import usable_routes
from forebay.rpc_errors import Cancellable, cancelled_on_exit, mapped_rpc_errors

if TYPE_CHECKING:
    from forebay.compute.arrays import Array
    from forebay.compute.v1.compute_pb2_grpc import ComputeServiceAsyncStub

CoResponseT = TypeVar("CoResponseT", covariant=True)


def connect(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    token: AsyncToken | None = None,
) -> AsyncClient:
    """Like `forebay.connect`. Call it in the event loop that will use the client."""
    return AsyncClient(channel(target, resume=resume, credentials=credentials, token=token))


def channel(
    target: str | Sequence[str],
    *,
    resume: bool = True,
    credentials: grpc.ChannelCredentials | None = None,
    token: AsyncToken | None = None,
    options: Sequence[tuple[str, Any]] = (),
    pool: DescriptorPool | None = None,
    routes: str | Path | None = None,
) -> grpc.aio.Channel:
    """Like `forebay.channel`. Call it in the event loop that will use the channel.

    The function `token` may be async; it has as long as the RPC.
    """
    targets = read_targets(target)
    check_token(token, targets, is_secure=credentials is not None, is_async=True)
    return ResumingChannel(
        [aio_dial(one, credentials, token, options) for one in targets],
        resumes=resume,
        pool=pool,
        routes=usable_routes(routes),
        renews_token=callable(token),
    )


class AsyncClient:
    """Like `forebay.Client`, for one event loop; cancelling a waiting task cancels its call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        resuming = isinstance(channel, ResumingChannel)
        self._channel = channel if resuming else ResumingChannel([channel])
        self.stub: ComputeServiceAsyncStub = ComputeServiceStub(self._channel)

    async def add(
        self, x: float, y: float, *, timeout: float | None = None, call_id: str | None = None
    ) -> float:
        """Like `Client.add`."""
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
        """Like `Client.factorial`."""
        return await _result(self.stub.Factorial, factorial_rpc(n, progress), timeout, call_id)

    async def factorial_digits(
        self,
        n: int,
        *,
        progress: OnProgress | None = None,
        timeout: float | None = None,
        call_id: str | None = None,
    ) -> AsyncIterator[str]:
        """Like `Client.factorial_digits`."""
        request = factorial_request(n, pb.INTEGER_ENCODING_DECIMAL)
        call = self.stub.Factorial(request, timeout=timeout, metadata=call_metadata(call_id))
        with cancelled_on_exit(call):
            async for response in call:
                if not report_progress(response, progress) and response.digits:
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
        """Like `Client.matmul`."""
        from forebay.compute.products import product_rpc

        return await _result(self.stub.MatMul, product_rpc(a, b, progress), timeout, call_id)

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
        """Like `Client.random_matmul`."""
        from forebay.compute.products import random_product_rpc

        rpc = random_product_rpc(m, n, seed, dtype, progress)
        return await _result(self.stub.MatMul, rpc, timeout, call_id)

    async def close(self) -> None:
        """Cancels the calls in flight, and closes the connection."""
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


class _Responses(Cancellable, AsyncIterable[CoResponseT], Protocol[CoResponseT]):
    """A call of `grpc.aio` with a stream of responses."""


async def _result(
    method: Callable[..., _Responses[ResponseT]],
    rpc: StreamingRpc[ResponseT, ResultT],
    timeout: float | None,
    call_id: str | None,
) -> ResultT:
    call = method(rpc.request, timeout=timeout, metadata=call_metadata(call_id))
    with cancelled_on_exit(call):
        async for response in call:
            rpc.add(response)
    return rpc.assembly.result()
