"""A channel of `grpc` to several targets, whose calls resume. Works with any generated stub.

What it needs to know of a method (which items are transient, whether it may be run
again) comes from the descriptors that generated code registers. A call of a method
without a route goes to one of the targets and is not made again.
"""

from __future__ import annotations

import random
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import grpc
from google.protobuf.descriptor_pool import DescriptorPool

from forebay.deadline import Deadline
from forebay.resume.calls import BlockingAttempts, FutureResponse, ResponseStream, call_and_wait
from forebay.resume.cancel_request import PATH, TIMEOUT_S, cancellation
from forebay.resume.policy import ResumePolicy
from forebay.resume.request_replay import Replay
from forebay.resume.targets import Rotation
from forebay.routes import Method, method_of


class ResumingChannel(grpc.Channel):
    """Spreads calls over channels; where one fails, its calls go on over the others.

    Owns the channels. With `resumes` false, calls are spread and nothing else. Routes
    are read in `pool`; None: protobuf's default one.
    """

    def __init__(
        self,
        channels: Sequence[grpc.Channel],
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
        self._calls: weakref.WeakSet[BlockingAttempts] = weakref.WeakSet()
        self._cancels: list[Any] = [channel.unary_unary(PATH) for channel in self._channels]
        self._stopping: set[grpc.Future[Any]] = set()

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        return _OneResponse(
            self, method, [c.unary_unary(method, *args, **kwargs) for c in self._channels]
        )

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.stream_unary(method, *args, **kwargs) for channel in self._channels]
        return _OneResponse(self, method, each, Replay)

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.unary_stream(method, *args, **kwargs) for channel in self._channels]
        return _Responses(self, method, each)

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """As of any channel."""
        each = [channel.stream_stream(method, *args, **kwargs) for channel in self._channels]
        return _Responses(self, method, each, Replay)

    def subscribe(
        self, callback: Callable[[grpc.ChannelConnectivity], None], try_to_connect: bool = False
    ) -> None:
        """Tells of the state of every target's connection."""
        for channel in self._channels:
            channel.subscribe(callback, try_to_connect)

    def unsubscribe(self, callback: Callable[[grpc.ChannelConnectivity], None]) -> None:
        """Ends `subscribe`."""
        for channel in self._channels:
            channel.unsubscribe(callback)

    def close(self) -> None:
        """Ends the calls in flight, tells the gateways so if they listen, and disconnects."""
        for attempts in list(self._calls):
            attempts.leave()
        give_up = Deadline.after(TIMEOUT_S)
        for future in list(self._stopping):
            _wait(future, give_up)
        for channel in self._channels:
            channel.close()

    def __enter__(self) -> ResumingChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def attempts(
        self,
        method: Method | None,
        each: Sequence[Any],
        request: Any,
        timeout: float | None,
        metadata: Any,
        options: dict[str, Any],
    ) -> BlockingAttempts:
        """A call that begins now."""
        resumption = ResumePolicy(
            method if self._resumes else None,
            tuple(metadata or ()),
            Deadline.after(timeout),
            self._rotation,
            random=random.random,
            new_id=lambda: str(uuid.uuid4()),
        )
        attempts = BlockingAttempts(resumption, each, request, options, self._stop)
        self._calls.add(attempts)
        return attempts

    def _stop(self, call: ResumePolicy) -> None:
        request = cancellation(call)
        if request is None or call.target is None:
            return
        try:
            future = self._cancels[call.target].future(request, timeout=TIMEOUT_S)
        except ValueError:  # the channel is closed
            return
        self._stopping.add(future)
        future.add_done_callback(self._stopping.discard)


class _MultiCallable:
    """A method on every target; `replayed` is what its request is wrapped in."""

    def __init__(
        self,
        channel: ResumingChannel,
        path: str,
        each: Sequence[Any],
        replayed: Callable[[Any], Any] = lambda request: request,
    ) -> None:
        self._channel = channel
        self._method = method_of(path, channel.pool)
        self._each = each
        self._replayed = replayed

    def _begin(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Any = None,
        *options: Any,
        **named: Any,
    ) -> BlockingAttempts:
        named.update(zip(("credentials", "wait_for_ready", "compression"), options, strict=False))
        return self._channel.attempts(
            self._method, self._each, self._replayed(request), timeout, metadata, named
        )


class _OneResponse(_MultiCallable):
    """A method with one response. The arguments are those of any generated stub."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.with_call(*args, **kwargs)[0]

    def with_call(self, *args: Any, **kwargs: Any) -> Any:
        return call_and_wait(self._begin(*args, **kwargs))

    def future(self, *args: Any, **kwargs: Any) -> Any:
        return FutureResponse(self._begin(*args, **kwargs))


class _Responses(_MultiCallable):
    """A method with a stream of responses."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return ResponseStream(self._begin(*args, **kwargs))


def _wait(future: Any, deadline: Deadline) -> None:
    try:
        future.exception(deadline.remaining_s())
    except (grpc.FutureTimeoutError, grpc.FutureCancelledError):
        future.cancel()
