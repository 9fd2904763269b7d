"""A channel of `grpc.aio` to several targets, whose calls are resumed; see `resume.channel`."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.resume.aio_attempts import AsyncAttempts
from forebay.resume.aio_calls import Response, ResponseStream
from forebay.resume.cancel_request import TIMEOUT_S
from forebay.resume.request_replay import AsyncReplay, RequestWriter
from forebay.resume.stub_services import StubServices
from forebay.resume.target_set import Rpc, TargetSet
from forebay.routes import NO_ROUTES, RouteFile

_BEST_FIRST = (
    grpc.ChannelConnectivity.READY,
    grpc.ChannelConnectivity.CONNECTING,
    grpc.ChannelConnectivity.IDLE,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE,
    grpc.ChannelConnectivity.SHUTDOWN,
)


class ResumingChannel(grpc.aio.Channel):
    """Like `forebay.resume.channel.ResumingChannel`, for one event loop."""

    def __init__(
        self,
        channels: Sequence[grpc.aio.Channel],
        *,
        resumes: bool = True,
        pool: DescriptorPool | None = None,
        routes: RouteFile = NO_ROUTES,
        renews_token: bool = False,
    ) -> None:
        self._channels = tuple(channels)
        self._cancels = _CancelSender()
        self._targets = TargetSet(
            self._channels,
            AsyncAttempts,
            self._cancels,
            resumes=resumes,
            services=StubServices(pool, routes),
            renews_token=renews_token,
        )

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        rpc = self._targets.rpc("unary_unary", method, *args, **kwargs)
        return _MultiCallable(self._targets, rpc, Response)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        rpc = self._targets.rpc("stream_unary", method, *args, **kwargs)
        return _MultiCallable(self._targets, rpc, Response, streams_requests=True)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        rpc = self._targets.rpc("unary_stream", method, *args, **kwargs)
        return _MultiCallable(self._targets, rpc, ResponseStream)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        rpc = self._targets.rpc("stream_stream", method, *args, **kwargs)
        return _MultiCallable(self._targets, rpc, ResponseStream, streams_requests=True)

    async def close(self, grace: float | None = None) -> None:
        """Cancels the calls in flight, on the gateways too if they answer, and disconnects.

        With a grace, calls have that many seconds to end by themselves.
        """
        if not grace:
            self._targets.cancel_calls()
        await self._cancels.wait()
        await asyncio.gather(*(channel.close(grace) for channel in self._channels))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The best state of all targets' connections."""
        states = [channel.get_state(try_to_connect) for channel in self._channels]
        return min(states, key=_BEST_FIRST.index)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        while self.get_state() is last_observed_state:
            await _first(
                channel.wait_for_state_change(channel.get_state()) for channel in self._channels
            )

    async def channel_ready(self) -> None:
        """Waits until one target is connected."""
        await _first(channel.channel_ready() for channel in self._channels)

    async def __aenter__(self) -> ResumingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _CancelSender:
    def __init__(self) -> None:
        self._in_flight: set[asyncio.Task[None]] = set()

    def send(self, rpc: Any, request: bytes) -> None:
        task = asyncio.create_task(self._send(rpc, request))
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _send(self, rpc: Any, request: bytes) -> None:
        with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError):
            await rpc(request, timeout=TIMEOUT_S)

    async def wait(self) -> None:
        if self._in_flight:
            await asyncio.wait(self._in_flight, timeout=TIMEOUT_S)


class _MultiCallable:
    """A method on every target, and the class of its calls."""

    def __init__(
        self,
        targets: TargetSet[AsyncAttempts],
        rpc: Rpc,
        kind: type[Response | ResponseStream],
        *,
        streams_requests: bool = False,
    ) -> None:
        self._targets = targets
        self._rpc = rpc
        self._kind = kind
        self._streams_requests = streams_requests

    def __call__(
        self,
        request: Any = None,
        timeout: float | None = None,
        metadata: Any = None,
        credentials: grpc.CallCredentials | None = None,
        wait_for_ready: bool | None = None,
        compression: grpc.Compression | None = None,
        *,
        request_iterator: Any = None,
    ) -> Response | ResponseStream:
        """Starts a call. Takes the arguments of any generated stub."""
        options = {
            "credentials": credentials,
            "wait_for_ready": wait_for_ready,
            "compression": compression,
        }
        writer = None
        if self._streams_requests:
            if request_iterator is None:
                request_iterator = request
            if request_iterator is None:
                request_iterator = writer = RequestWriter()
            request = AsyncReplay(request_iterator)
        attempts = self._targets.begin(self._rpc, request, timeout, metadata, options)
        return self._kind(attempts, writer)


async def _first(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Waits for the first of them, and cancels the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
