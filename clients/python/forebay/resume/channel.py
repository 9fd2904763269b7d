"""A `grpc.Channel` to several targets that resumes calls. Works with any generated stub.

The policy of each method comes from its descriptor, which generated code registers: which items
are transient, and whether a call may run again. Calls of methods without a route are never retried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.deadline import Deadline
from forebay.resume.calls import (
    BlockingAttempts,
    ResponseStream,
    ResumingCall,
    call_and_wait,
)
from forebay.resume.cancel_request import TIMEOUT_S
from forebay.resume.request_replay import Replay
from forebay.resume.stub_services import StubServices
from forebay.resume.target_set import Rpc, TargetSet
from forebay.routes import NO_ROUTES, RouteFile


class ResumingChannel(grpc.Channel):
    """Spreads calls over channels; when a channel fails, its calls are retried on the others.

    Owns the channels. With `resumes` false, calls are never retried. Routes are read from `pool`
    (None means protobuf's default pool) and from `routes`. Set `renews_token` if the channels make
    a fresh token for each RPC; calls whose token has expired are then resumed.
    """

    def __init__(
        self,
        channels: Sequence[grpc.Channel],
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
            BlockingAttempts,
            self._cancels,
            resumes=resumes,
            services=StubServices(pool, routes),
            renews_token=renews_token,
        )

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _OneResponse(self._targets, "unary_unary", method, *args, **kwargs)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _OneResponse(self._targets, "stream_unary", method, *args, **kwargs)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Responses(self._targets, "unary_stream", method, *args, **kwargs)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        return _Responses(self._targets, "stream_stream", method, *args, **kwargs)

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False
    ) -> None:
        """Calls the callback when the state of any target's connection changes."""
        for channel in self._channels:
            channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        for channel in self._channels:
            channel.unsubscribe(callback)

    def close(self) -> None:
        """Cancels the calls in flight, also on gateways that can be reached, and disconnects."""
        self._targets.cancel_calls()
        self._cancels.wait()
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> ResumingChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _CancelSender:
    def __init__(self) -> None:
        self._in_flight: set[grpc.Future[Any]] = set()

    def send(self, rpc: Any, request: bytes) -> None:
        try:
            future = rpc.future(request, timeout=TIMEOUT_S)
        except ValueError:  # the channel is closed
            return
        self._in_flight.add(future)
        future.add_done_callback(self._in_flight.discard)

    def wait(self) -> None:
        deadline = Deadline.after(TIMEOUT_S)
        for future in list(self._in_flight):
            try:
                future.exception(deadline.remaining_s())
            except (grpc.FutureTimeoutError, grpc.FutureCancelledError):
                future.cancel()


class _MultiCallable:
    def __init__(
        self,
        targets: TargetSet[BlockingAttempts],
        kind: str,
        path: str,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        self._targets = targets
        self._rpc: Rpc = targets.rpc(kind, path, *args, **kwargs)
        self._streams_requests = kind.startswith("stream_")

    def _begin(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        *options: Any,
        **named: Any,
    ) -> BlockingAttempts:
        named.update(zip(("credentials", "wait_for_ready", "compression"), options, strict=False))
        request = Replay(request) if self._streams_requests else request
        return self._targets.begin(self._rpc, request, timeout, metadata, named)


class _OneResponse(_MultiCallable):
    """A method with one response. Takes the arguments of any generated stub."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.with_call(*args, **kwargs)[0]

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return call_and_wait(self._begin(*args, **kwargs))

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return ResumingCall(self._begin(*args, **kwargs))


class _Responses(_MultiCallable):
    """A method with a stream of responses."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._begin(*args, **kwargs))
