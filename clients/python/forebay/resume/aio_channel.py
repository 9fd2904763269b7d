"""A channel of `grpc.aio` to several targets, whose calls resume: `resuming`'s twin."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
import weakref
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.deadline import Deadline
from forebay.resume.aio_calls import AsyncAttempts, Response, ResponseStream, Written
from forebay.resume.cancel_request import PATH, TIMEOUT_S, cancellation
from forebay.resume.policy import ResumePolicy
from forebay.resume.request_replay import AsyncReplay
from forebay.resume.targets import Rotation
from forebay.routes import Method, method_of

_BEST_FIRST = (
    grpc.ChannelConnectivity.READY,
    grpc.ChannelConnectivity.CONNECTING,
    grpc.ChannelConnectivity.IDLE,
    grpc.ChannelConnectivity.TRANSIENT_FAILURE,
    grpc.ChannelConnectivity.SHUTDOWN,
)


class ResumingChannel(grpc.aio.Channel):
    """As `forebay.resuming.ResumingChannel`, for one event loop."""

    def __init__(
        self,
        channels: Sequence[grpc.aio.Channel],
        *,
        resumes: bool = True,
        pool: DescriptorPool | None = None,
    ) -> None:
        self.pool = pool
        self._channels = tuple(channels)
        self._resumes = resumes
        self._rotation = Rotation(
            len(self._channels),
            time.monotonic,
            random.randrange(len(self._channels)),  # noqa: S311  # spreads load, keeps no secret
        )
        self._cancels: list[Any] = [channel.unary_unary(PATH) for channel in self._channels]
        self._calls: weakref.WeakSet[AsyncAttempts] = weakref.WeakSet()
        self._stopping: set[asyncio.Task[None]] = set()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.unary_unary(method, *args, **kwargs) for channel in self._channels]
        return _MultiCallable(self, method, each, Response)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.stream_unary(method, *args, **kwargs) for channel in self._channels]
        return _MultiCallable(self, method, each, Response, streams_requests=True)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.unary_stream(method, *args, **kwargs) for channel in self._channels]
        return _MultiCallable(self, method, each, ResponseStream)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.stream_stream(method, *args, **kwargs) for channel in self._channels]
        return _MultiCallable(self, method, each, ResponseStream, streams_requests=True)

    async def close(self, grace: float | None = None) -> None:
        """Ends the calls in flight, tells the gateways so if they listen, and disconnects.

        With a grace, calls have so many seconds to end by themselves.
        """
        for attempts in list(self._calls) if not grace else ():
            attempts.leave()
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=TIMEOUT_S)
        await asyncio.gather(*(channel.close(grace) for channel in self._channels))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the target that is connected best."""
        states = [channel.get_state(try_to_connect) for channel in self._channels]
        return min(states, key=_BEST_FIRST.index)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when `get_state` says something else."""
        while self.get_state() is last_observed_state:
            await _first(
                channel.wait_for_state_change(channel.get_state()) for channel in self._channels
            )

    async def channel_ready(self) -> None:
        """Returns when a target is connected."""
        await _first(channel.channel_ready() for channel in self._channels)

    async def __aenter__(self) -> ResumingChannel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def begin(
        self,
        path_method: Method | None,
        each: Sequence[Any],
        request: Any,
        timeout: float | None,
        metadata: Any,
        options: dict[str, Any],
    ) -> AsyncAttempts:
        """A call that begins now."""
        resumption = ResumePolicy(
            path_method if self._resumes else None,
            tuple(metadata or ()),
            Deadline.after(timeout),
            self._rotation,
            random=random.random,
            new_id=lambda: str(uuid.uuid4()),
        )
        attempts = AsyncAttempts(resumption, each, request, options, self._stop)
        self._calls.add(attempts)
        return attempts

    def _stop(self, call: ResumePolicy) -> None:
        request = cancellation(call)
        if request is not None and call.target is not None:
            task = asyncio.create_task(_said(self._cancels[call.target], request))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)


class _MultiCallable:
    """A method on every target, and what a call of it is."""

    def __init__(
        self,
        channel: ResumingChannel,
        path: str,
        each: Sequence[Any],
        kind: type[Response | ResponseStream],
        *,
        streams_requests: bool = False,
    ) -> None:
        self._channel = channel
        self._method = method_of(path, channel.pool)
        self._each = each
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
        """Begins a call. The arguments are those of any generated stub."""
        options = {
            "credentials": credentials,
            "wait_for_ready": wait_for_ready,
            "compression": compression,
        }
        written = None
        if self._streams_requests:
            if request_iterator is None:
                request_iterator = request
            if request_iterator is None:
                request_iterator = written = Written()
            request = AsyncReplay(request_iterator)
        attempts = self._channel.begin(
            self._method, self._each, request, timeout, metadata, options
        )
        return self._kind(attempts, written)


async def _said(cancel: Any, request: bytes) -> None:
    with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError):
        await cancel(request, timeout=TIMEOUT_S)


async def _first(waits: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Returns when the first of them has."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
