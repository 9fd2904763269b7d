"""The channels to all targets and their calls; `grpc` and `grpc.aio` share this part."""

from __future__ import annotations

import time
import uuid
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import DecodeError, Message

from forebay.deadline import Deadline
from forebay.jitter import chance, one_of
from forebay.resume.attempts import Attempts
from forebay.resume.cancel_request import PATH, cancel_request
from forebay.resume.policy import ResumePolicy
from forebay.resume.stub_services import StubServices
from forebay.resume.targets import Rotation
from forebay.routes import Method

A = TypeVar("A", bound=Attempts)

NewAttempts: TypeAlias = Callable[
    [ResumePolicy, Sequence[Any], Any, Mapping[str, Any], Callable[[ResumePolicy], None]], A
]


class CancelSender(Protocol):
    """Sends CancelOperation requests in the background."""

    def send(self, rpc: Any, request: bytes) -> None: ...


@dataclass(frozen=True)
class Rpc:
    """One RPC method, with a multi-callable for each target."""

    path: str
    multicallables: tuple[Any, ...]


def _request_id(method: Method | None, request: Any) -> str:
    """The call id in the request of a method that returns an operation; empty if it has none."""
    if method is None or method.operation is None:
        return ""
    try:
        if isinstance(request, bytes):  # a stub without a serializer
            request = method.request_class.FromString(request)
        return method.operation.request_id(request) if isinstance(request, Message) else ""
    except (DecodeError, ValueError):  # the gateway reports what is wrong with the request
        return ""


class TargetSet(Generic[A]):
    """Starts calls, each with a `ResumePolicy`.

    With `resumes` false, calls are spread over the targets and never retried. `services` has the
    routes of the methods. With `renews_token`, the channels make a fresh token for each RPC.
    """

    def __init__(
        self,
        channels: Sequence[Any],
        new_attempts: NewAttempts[A],
        cancels: CancelSender,
        *,
        resumes: bool,
        services: StubServices,
        renews_token: bool = False,
    ) -> None:
        self._channels = channels
        self._new_attempts = new_attempts
        self._cancels = cancels
        self._resumes = resumes
        self._services = services
        self._renews_token = renews_token
        self._rotation = Rotation(
            len(channels),
            time.monotonic,
            one_of(range(len(channels))),  # it spreads load and need not be secure
        )
        self._cancel_rpcs = [channel.unary_unary(PATH) for channel in channels]
        self._calls: weakref.WeakSet[A] = weakref.WeakSet()

    def rpc(self, kind: str, path: str, *args: Any, **kwargs: Any) -> Rpc:
        """The method at the path; `kind` is the channel's method for it, such as `unary_unary`."""
        if self._resumes:
            self._services.prepare(path)
        multicallables = (getattr(one, kind)(path, *args, **kwargs) for one in self._channels)
        return Rpc(path, tuple(multicallables))

    def begin(
        self,
        rpc: Rpc,
        request: Any,
        timeout: float | None,
        metadata: Any,
        options: Mapping[str, Any],
    ) -> A:
        method = self._services.method(rpc.path) if self._resumes else None
        policy = ResumePolicy(
            method,
            tuple(metadata or ()),
            Deadline.after(timeout),
            self._rotation,
            random=chance,
            new_id=lambda: str(uuid.uuid4()),
            request_id=_request_id(method, request),
            renews_token=self._renews_token,
        )
        call = self._new_attempts(policy, rpc.multicallables, request, options, self._on_cancel)
        self._calls.add(call)
        return call

    def cancel_calls(self) -> None:
        for call in list(self._calls):
            call.cancel()

    def _on_cancel(self, call: ResumePolicy) -> None:
        request = cancel_request(call)
        if request is None:
            return
        target = call.cancel_target()
        if target is not None:
            self._cancels.send(self._cancel_rpcs[target], request)
