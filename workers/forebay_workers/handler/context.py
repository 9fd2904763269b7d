"""What a handler is given beside its request: a whole `grpc.ServicerContext`.

A handler written for `grpc.server` finds here all that it used there; what it
says goes to the ledger instead of a socket.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, NoReturn, cast

import grpc

from forebay.deadline import Deadline
from forebay.errors.status import STATUS_DETAILS_KEY
from forebay.metadata import from_pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import Flow
from forebay_workers.handler.flow_control import FlowControl

Pairs = Iterable[tuple[str, str | bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


_log = logging.getLogger(__name__)


class Metadatum(NamedTuple):
    """A pair of metadata, as `grpc.server` hands it out."""

    key: str
    value: str | bytes


class Aborted(Exception):
    """The handler ended its call with `abort`; its status is in the context."""


class CallContext(grpc.ServicerContext):
    """One attempt of one call, as its handler sees it."""

    def __init__(
        self,
        call: CallKey,
        attempt: int,
        *,
        metadata: Sequence[tuple[str, str | bytes]],
        timeout_s: float | None,
        flow: FlowControl,
        send_initial: Callable[[bytes], None],
    ) -> None:
        self.call = call
        self.attempt = attempt
        self.stopped: str | None = None
        self.cancelled = False  # by the handler itself
        self.flow = flow
        self.requests_heard = 0
        self._is_over = False
        self.changed = threading.Condition()
        self.outcome = call_pb2.Outcome()
        self._deadline = Deadline.after(timeout_s)
        self._metadata = tuple(Metadatum(*pair) for pair in metadata)
        self._send_initial = send_initial
        self._initial_sent = False
        self._callbacks: list[Callable[[], None]] | None = []

    # What the process says to the context.

    def stop(self, why: str) -> None:
        """The call is over: the handler is to come to an end."""
        with self.changed:
            self.stopped = self.stopped or why
            self.changed.notify_all()
        self._call_back()

    def on_credit(self, read_count: int) -> None:
        """The foremost watcher has read so many items."""
        with self.changed:
            self.flow.on_credit(read_count)
            self.changed.notify_all()

    def on_flow(self, flow: Flow) -> None:
        """The ledger's word on flow control."""
        with self.changed:
            self.flow.on_flow(flow)
            self.changed.notify_all()

    def responds(self) -> None:
        """A response goes out, and initial metadata before it."""
        self._initial_sent = True

    def on_requests(self) -> None:
        """Requests of a live call may have come, or ended."""
        with self.changed:
            self.requests_heard += 1
            self.changed.notify_all()

    def wait_for_requests(self, heard: int, timeout_s: float) -> None:
        """Returns when more was heard of them than `heard`, when it is over, or after so long."""

        def news() -> bool:
            over = self.stopped is not None or self._is_over
            return over or self.requests_heard != heard

        with self.changed:
            self.changed.wait_for(news, timeout_s)

    def is_over(self) -> bool:
        """Whether the handler has come to its end."""
        return self._is_over

    def ended(self) -> None:
        """The handler has come to its end."""
        with self.changed:
            self._is_over = True
            self.changed.notify_all()
        self._call_back()

    # grpc.RpcContext

    def is_active(self) -> bool:
        """Whether the call still wants its result."""
        return self.stopped is None and not self._deadline.passed

    def time_remaining(self) -> float:
        """Seconds until the call's deadline; None where it has none, as in grpc.server."""
        return cast(float, self._deadline.timeout_s())

    def cancel(self) -> bool:
        """Ends the call as CANCELLED; False where it had ended."""
        active = self.is_active()
        if active:
            self.cancelled = True
            self.set_code(grpc.StatusCode.CANCELLED)
            self.stop("CANCELLED")
        return active

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Calls back when the call has ended; False where it has."""
        with self.changed:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    # grpc.ServicerContext

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        """The metadata that the route hands on, and the call's id."""
        return self._metadata

    def peer(self) -> str:
        """The call's name: the caller's address is not kept."""
        return f"forebay:{self.call}"

    def peer_identities(self) -> None:
        """None: there is no authentication yet."""
        return

    def peer_identity_key(self) -> None:
        """None: there is no authentication yet."""
        return

    def auth_context(self) -> Mapping[str, bytes]:
        """Empty: there is no authentication yet."""
        return {}

    def set_compression(self, compression: grpc.Compression) -> None:
        """No effect: the gateway's server compresses."""

    def disable_next_message_compression(self) -> None:
        """No effect: the gateway's server compresses."""

    def send_initial_metadata(self, initial_metadata: Pairs) -> None:
        """Sends the handler's initial metadata; ValueError where that was done."""
        if self._initial_sent:
            raise ValueError("initial metadata was already sent")
        self._initial_sent = True
        self._send_initial(from_pairs(initial_metadata).SerializeToString())

    def set_trailing_metadata(self, trailing_metadata: Pairs) -> None:
        """Sets the handler's trailing metadata."""
        self.outcome.trailing_metadata.CopyFrom(from_pairs(trailing_metadata))

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """The handler's trailing metadata, as set so far."""
        return tuple(to_pairs(self.outcome.trailing_metadata))

    def set_code(self, code: grpc.StatusCode) -> None:
        """Sets the status that the call ends with."""
        self.outcome.code = code.value[0]

    def set_details(self, details: str) -> None:
        """Sets the status message that the call ends with."""
        self.outcome.message = details

    def code(self) -> grpc.StatusCode:
        """The status, as set so far."""
        return _CODES[self.outcome.code]

    def details(self) -> str:
        """The status message, as set so far."""
        return self.outcome.message

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call with a status; raises, and must not be caught."""
        # As grpc.server does it: OK is no status to abort with.
        self.set_code(grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code)
        self.set_details("" if code is grpc.StatusCode.OK else details)
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with a status and its details; raises, and must not be caught."""
        trailing = list(status.trailing_metadata or ())
        for key, value in trailing:
            if key == STATUS_DETAILS_KEY:
                self.outcome.details = value if isinstance(value, bytes) else value.encode()
        self.set_trailing_metadata(pair for pair in trailing if pair[0] != STATUS_DETAILS_KEY)
        self.abort(status.code, status.details)

    def _call_back(self) -> None:
        with self.changed:
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("call %s: a callback of its handler failed", self.call)
