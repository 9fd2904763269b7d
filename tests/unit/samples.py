"""Values and fakes that several test modules share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from google.protobuf.message import Message

from forebay.checks import Check, NoCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ForebayError
from forebay.routes import Limits, Method, Route, read_methods
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.calls import CallSnapshot
from forebay_backends.metrics.instruments import Source
from forebay_backends.metrics.registry import Metrics
from forebay_gateway.metrics.call_meter import CallMeter
from forebay_gateway.metrics.method_meter import MethodMeter
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.invoke import invoke
from forebay_workers.handler.operation_metadata import Metadata

COMPUTE = pb.DESCRIPTOR.services_by_name["ComputeService"]
METHODS = {method.name.rpartition(".")[2]: method for method in read_methods([COMPUTE])}
"""The routed methods of ComputeService, by their short names."""

CALL = CallKey("call-1")

_ROUTE = Route(
    task="tasks.t",
    queue="q",
    ephemeral=False,
    max_batch=1,
    detach=False,
    live=False,
    transient="",
    deterministic=False,
    limits=Limits(),
    priority=0,
    max_priority=0,
    metadata=(),
    caller_chooses_on_disconnect=False,
)
_ENDING = Ending(State.SUCCEEDED, "", 0, attempts=1, queue_ms=2, run_ms=3, outcome=b"")
_STANDING = CallSnapshot(
    "m",
    "d",
    State.RUNNING,
    1,
    8 << 20,
    count=0,
    sent=0,
    first=0,
    initial=b"",
    transient=b"",
    receiving=False,
    ending=None,
)


class FakeClock:
    """A clock that the test advances."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now


def route(**changes: Any) -> Route:
    """An ordinary route, with changes."""
    return replace(_ROUTE, **changes)


def method(name: str, **route_changes: Any) -> Method:
    """A method of ComputeService with changes to its route."""
    found = METHODS[name]
    return replace(found, route=replace(found.route, **route_changes))


def ending(**changes: Any) -> Ending:
    """The ending of a successful call without items, with changes."""
    return replace(_ENDING, **changes)


def snapshot(**changes: Any) -> CallSnapshot:
    """The snapshot of a running call without items, with changes."""
    return replace(_STANDING, **changes)


def context(
    *,
    metadata: Sequence[tuple[str, str | bytes]] = (),
    timeout_s: float | None = None,
    send_initial: Callable[[bytes], None] = lambda metadata: None,
    call: CallKey = CALL,
    caller: call_pb2.Caller | None = None,
) -> CallContext:
    """A handler's context, with a wide flow-control window."""
    return CallContext(
        call,
        1,
        metadata=metadata,
        timeout_s=timeout_s,
        flow=FlowControl(1 << 20, 1 << 20),
        send_initial=send_initial,
        caller=b"" if caller is None else caller.SerializeToString(),
    )


def violated(error: ForebayError) -> list[str]:
    """The fields in an error's violations, all of which must have a description."""
    assert all(violation.description for violation in error.violations)
    return [violation.field for violation in error.violations]


class Attempt:
    """One run of a handler, and its results."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.context: CallContext = context()
        self.emitted: list[Message | Metadata] = []
        self._stop_at = stop_at

    def run(
        self,
        method: Method,
        handler: Callable[..., Any],
        *requests: Message,
        check: Check | None = None,
        limit: int = 1 << 20,
    ) -> call_pb2.Outcome | None:
        """Runs the handler; returns the result of `invoke`."""
        wire = (request.SerializeToString() for request in requests)
        return invoke(method, handler, wire, self.context, check or NoCheck(), self.emit, limit)

    def emit(self, response: Message | Metadata, payload: bytes) -> None:
        """Stores a response, or stops the handler."""
        assert payload == response.SerializeToString()
        if self._stop_at == len(self.emitted):
            raise Stopped
        self.emitted.append(response)


def uncounted() -> CallMeter:
    """A meter that counts nothing."""
    return CallMeter(MethodMeter(Metrics({Source.GATEWAY}, is_on=False), "method"))
