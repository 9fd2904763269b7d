"""The context that a handler receives beside its request: a whole `grpc.ServicerContext`.

A handler written for `grpc.server` runs unchanged. Metadata and status that it sets go to
the ledger instead of a socket.
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
from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.handler.flow_control import FlowControl
from forebay_workers.handler.process_exit import ends_process

POLL_INTERVAL_S = LEASE_S / 3
"""How long a waiting handler relies on notices, which may be lost, before it reads the ledger."""

Pairs = Iterable[tuple[str, str | bytes]]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


_log = logging.getLogger(__name__)


class Metadatum(NamedTuple):
    """A pair of metadata, in the form that `grpc.server` gives to handlers."""

    key: str
    value: str | bytes


class Aborted(Exception):
    """Raised by `abort` to end the handler; the context has the status."""


class CallContext(grpc.ServicerContext):
    """The context of one attempt of one call. Methods of grpc's context are for the handler."""

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
        self.cancelled = False  # by the handler itself, with `cancel`
        self.flow = flow
        self.request_notices = 0
        self._finished = False
        self.changed = threading.Condition()
        self.outcome = call_pb2.Outcome()
        self._deadline = Deadline.after(timeout_s)
        self._metadata = tuple(Metadatum(*pair) for pair in metadata)
        self._send_initial = send_initial
        self._initial_sent = False
        self._callbacks: list[Callable[[], None]] | None = []

    # Called by the worker.

    def stop(self, reason: str) -> None:
        """Asks the handler to end: the call is over. The first reason is kept."""
        with self.changed:
            self.stopped = self.stopped or reason
            self.changed.notify_all()
        self._run_callbacks()

    def on_credit(self, read_count: int) -> None:
        """Records that the foremost watcher has read `read_count` items."""
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

    def is_active(self) -> bool:
        """Returns False once the call was stopped or its deadline has passed."""
        return self.stopped is None and not self._deadline.passed

    def time_remaining(self) -> float:
        """Returns the seconds until the deadline; None without one, as grpc.server does."""
        return cast(float, self._deadline.timeout_s())

    def cancel(self) -> bool:
        """Ends the call as CANCELLED; returns False if it had ended already."""
        active = self.is_active()
        if active:
            self.cancelled = True
            self.set_code(grpc.StatusCode.CANCELLED)
            self.stop("CANCELLED")
        return active

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
        """Sends initial metadata; raises ValueError if it has been sent already."""
        if self._initial_sent:
            raise ValueError("initial metadata was already sent")
        self._initial_sent = True
        self._send_initial(from_pairs(initial_metadata).SerializeToString())

    def set_trailing_metadata(self, trailing_metadata: Pairs) -> None:
        self.outcome.trailing_metadata.CopyFrom(from_pairs(trailing_metadata))

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return tuple(to_pairs(self.outcome.trailing_metadata))

    def set_code(self, code: grpc.StatusCode) -> None:
        self.outcome.code = code.value[0]

    def set_details(self, details: str) -> None:
        self.outcome.message = details

    def code(self) -> grpc.StatusCode:
        return _CODES[self.outcome.code]

    def details(self) -> str:
        return self.outcome.message

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Ends the call with a status. Raises Aborted, which handlers must not catch."""
        # As in grpc.server, aborting with OK gives UNKNOWN.
        self.set_code(grpc.StatusCode.UNKNOWN if code is grpc.StatusCode.OK else code)
        self.set_details("" if code is grpc.StatusCode.OK else details)
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Ends the call with a status and its details; raises Aborted."""
        trailing = list(status.trailing_metadata or ())
        for key, value in trailing:
            if key == STATUS_DETAILS_KEY:
                self.outcome.details = value if isinstance(value, bytes) else value.encode()
        self.set_trailing_metadata(pair for pair in trailing if pair[0] != STATUS_DETAILS_KEY)
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
