"""The context that a handler receives with its request: a complete `grpc.ServicerContext`.

A handler written for `grpc.server` runs unchanged. Metadata and status that it sets go to
the ledger instead of a socket.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import grpc

from forebay.deadline import Deadline
from forebay.metadata import GrpcMetadata, from_pairs
from forebay.routes import Method
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import Flow
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.telemetry.call_labels import CallLabels, traceparent_of
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.interrupted import Aborted, Stopped
from forebay_workers.handler.process_exit import ends_process
from forebay_workers.handler.status import HandlerStatus

if TYPE_CHECKING:
    from forebay_backends.telemetry.attempt_span import AttemptSpan, TaskTrace

POLL_INTERVAL_S = LEASE_S / 3
"""How often a waiting handler reads the ledger, since notices may be lost."""

TENANT, SUBJECT, ROLES, ISSUER = "tenant", "subject", "roles", "issuer"
"""Keys of `auth_context`."""

_NO_DEADLINE_S = float(2**63 - 1)
"""The value in `grpc.server`: `min(context.time_remaining(), 10)` works without a deadline."""

_log = logging.getLogger(__name__)


class Metadatum(NamedTuple):
    """A pair of metadata, in the form that `grpc.server` gives to handlers."""

    key: str
    value: str | bytes


class CallContext(grpc.ServicerContext):
    """The context of one attempt of one call. Methods of grpc's context are for the handler.

    `caller` is a serialized `Caller`; empty where authentication is off.
    """

    def __init__(
        self,
        call: CallKey,
        attempt: int,
        *,
        metadata: Sequence[tuple[str, str | bytes]],
        timeout_s: float | None,
        flow: FlowControl,
        send_initial: Callable[[bytes], None],
        caller: bytes = b"",
    ) -> None:
        self.call = call
        self._caller = caller
        self.attempt = attempt
        self.span: AttemptSpan | None = None
        self.labels = CallLabels(call_id=call.id, attempt=attempt, tenant=call.owner)
        self.stopped: str | None = None
        self.cancelled = False  # by the handler itself, with `cancel`
        self.flow = flow
        self.request_notices = 0
        self._finished = False
        self.changed = threading.Condition()
        self.status = HandlerStatus()
        self._deadline = Deadline.after(timeout_s)
        self._metadata = tuple(Metadatum(*pair) for pair in metadata)
        self._send_initial = send_initial
        self._initial_sent = False
        self._callbacks: list[Callable[[], None]] | None = []

    # Called by the worker.

    def trace(
        self,
        trace: TaskTrace | None,
        method: Method,
        labels: CallLabels,
        number: int = 0,
        *,
        is_sampled: bool | None = None,
    ) -> None:
        """Starts the attempt's span, if calls are traced, and adds its trace to the labels.

        `number` is the attempt's, if it is not that of the context. `is_sampled` says whether the
        call's trace, which the labels have, is sampled; None if only the metadata says so.
        """
        self.labels = labels
        if trace is None:
            labels.traceparent = labels.traceparent or traceparent_of(self._metadata)
            return
        if is_sampled is False:
            self.span = trace.unsampled(labels.traceparent)
            return
        queue, attempt = method.route.queue, number or self.attempt
        self.span = trace.attempt(
            *(method.name, queue, self.call.id, attempt, self._metadata, self.call.owner),
            labels.traceparent if is_sampled else "",
        )
        labels.traceparent = self.span.traceparent

    def stop(self, reason: str) -> None:
        """Asks the handler to end: the call is over. The first reason is kept."""
        with self.changed:
            self.stopped = self.stopped or reason
            self.changed.notify_all()
        self._run_callbacks()

    def on_credit(self, read_count: int) -> None:
        """Records that the fastest watcher has read `read_count` items."""
        with self.changed:
            self.flow.on_credit(read_count)
            self.changed.notify_all()

    def on_flow(self, flow: Flow) -> None:
        """Records the ledger's state of flow control."""
        with self.changed:
            self.flow.on_flow(flow)
            self.changed.notify_all()

    def response_started(self) -> None:
        """Refuses initial metadata from now on: it precedes the first response."""
        self._initial_sent = True

    def requests_changed(self) -> None:
        """Wakes the handler of a live call: its request stream may have grown or ended."""
        with self.changed:
            self.request_notices += 1
            self.changed.notify_all()

    def wait_for_requests(self, seen_notices: int, timeout_s: float) -> None:
        """Waits until `request_notices` is not `seen_notices`, or the call or handler ends."""

        def may_continue() -> bool:
            ended = self.stopped is not None or self._finished
            return ended or self.request_notices != seen_notices

        with self.changed:
            self.changed.wait_for(may_continue, timeout_s)

    @property
    def seconds_left(self) -> float | None:
        """The seconds until the deadline; None without one."""
        return self._deadline.timeout_s()

    @property
    def outcome(self) -> call_pb2.Outcome:
        """The outcome that the handler has set."""
        return self.status.outcome()

    def has_finished(self) -> bool:
        """Whether the handler has returned."""
        return self._finished

    def finish(self) -> None:
        """Marks the handler as finished, and runs its callbacks."""
        with self.changed:
            self._finished = True
            self.changed.notify_all()
        self._run_callbacks()

    # grpc.RpcContext

    @property
    def deadline_passed(self) -> bool:
        return self._deadline.passed

    def is_active(self) -> bool:
        """Returns False once the call is over, its deadline has passed or its handler returned."""
        return self.stopped is None and not self._finished and not self._deadline.passed

    def time_remaining(self) -> float:
        """Returns the seconds until the deadline; without one a very large number."""
        remaining_s = self.seconds_left
        return _NO_DEADLINE_S if remaining_s is None else remaining_s

    def cancel(self) -> None:  # type: ignore[override] # grpc.server returns None, too
        """Ends the call as CANCELLED; no effect if it has ended already."""
        if self.is_active():
            self.cancelled = True
            self.stop("CANCELLED")

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls `callback` when the call ends; returns False if it has ended already."""
        with self.changed:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    # grpc.ServicerContext

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        """Returns the call's id and the request metadata that the route passes on."""
        return self._metadata

    def peer(self) -> str:
        """Returns the call's key: the ledger does not keep the caller's address."""
        return f"forebay:{self.call}"

    def peer_identities(self) -> tuple[bytes, ...] | None:
        """Returns the caller's subject; None where authentication is off."""
        return (self._caller_message.subject.encode(),) if self._caller else None

    def peer_identity_key(self) -> str | None:
        """Returns `subject`, the key of `peer_identities` in `auth_context`; None as there."""
        return SUBJECT if self._caller else None

    # grpc.server has several values to a key, too; types-grpcio has one.
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:  # type: ignore[override]
        """Returns the caller's tenant, subject, roles and issuer; empty where it is not known."""
        if not self._caller:
            return {}
        caller = self._caller_message
        return {
            TENANT: (self.call.owner.encode(),),
            SUBJECT: (caller.subject.encode(),),
            ROLES: tuple(role.encode() for role in caller.roles),
            ISSUER: (caller.issuer.encode(),),
        }

    @property
    def _caller_message(self) -> call_pb2.Caller:
        return call_pb2.Caller.FromString(self._caller)

    def set_compression(self, compression: grpc.Compression) -> None:
        """No effect: the gateway does not compress responses."""

    def disable_next_message_compression(self) -> None:
        """No effect: the gateway does not compress responses."""

    def send_initial_metadata(self, initial_metadata: GrpcMetadata | None) -> None:
        """Sends initial metadata.

        Raises ValueError if it has been sent already or gRPC can't send it, TypeError for types
        that gRPC does not take, and grpc.RpcError if the call is over.
        """
        if self._initial_sent or self._finished:
            raise ValueError("initial metadata was already sent, or a response before it")
        if self.stopped is not None:
            raise Stopped
        metadata = from_pairs(initial_metadata)
        self._initial_sent = True
        self._send_initial(metadata.SerializeToString())

    def set_trailing_metadata(self, trailing_metadata: GrpcMetadata | None) -> None:
        """Raises TypeError or ValueError for metadata that gRPC can't send."""
        self.status.set_trailing(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """Returns what was set; None before."""
        return self.status.trailing

    def set_code(self, code: grpc.StatusCode) -> None:
        self.status.code = code

    def set_details(self, details: str | bytes) -> None:
        self.status.set_details(details)

    def code(self) -> Any:
        """Returns what was set; None before."""
        return self.status.code

    def details(self) -> bytes | None:
        """Returns what was set, in UTF-8; None before."""
        return self.status.details

    def abort(self, code: grpc.StatusCode, details: str | bytes) -> NoReturn:
        """Ends the call with a status. Raises Aborted, which handlers must not catch."""
        self.status.abort(code, details)
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with a status and its details; raises Aborted."""
        self.set_trailing_metadata(status.trailing_metadata)
        self.abort(status.code, status.details)

    def _run_callbacks(self) -> None:
        with self.changed:
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            try:
                callback()
            except BaseException as error:
                if ends_process(error):
                    raise
                _log.exception("call %s: a callback of its handler failed", self.call)
