"""Maps how a call ended to its gRPC error and trailing metadata. Pure."""

from __future__ import annotations

from google.rpc import code_pb2

from forebay.errors import CallUnknown, ForebayError, InternalFault, WorkerLost
from forebay.errors.status import error_of
from forebay.metadata import ATTEMPTS, QUEUE_MS, RUN_MS, Pairs, to_pairs
from forebay.v1 import call_pb2
from forebay_backends.ledger.frames import Ending
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import error_of_outcome

_MESSAGES = {
    "DEADLINE_EXCEEDED": "the call's deadline passed",
    "CANCELLED": "the call was cancelled",
    "CALLER_IDLE": "the next request did not come within the method's limit",
    "NO_WORKERS": "no live worker consumes the method's queue",
    "QUEUE_WAIT": "no worker began the call within the method's queue wait",
    "WORKER_LOST": "the call's worker died, and it may not be run again",
    "BACKEND_UNAVAILABLE": "the broker does not answer",
    "TOO_LARGE": "the request stream is over the method's limit",
}


def error_of_ending(ending: Ending, *, may_run_again: bool) -> ForebayError | None:
    """The error that a call ended with; None if it ended with OK.

    A lost call is ABORTED if its method may not run again: its effects are unknown.
    """
    if ending.outcome or ending.state is State.SUCCEEDED:  # a plain OK is stored as no bytes
        return error_of_outcome(call_pb2.Outcome.FromString(ending.outcome))
    if ending.reason in _MESSAGES:
        lost = ending.reason == WorkerLost.reason and not may_run_again
        code = code_pb2.ABORTED if lost else None
        return error_of(ending.reason, _MESSAGES[ending.reason], code=code)
    return InternalFault(f"the call ended as {ending.state} without an outcome")


def call_unknown() -> CallUnknown:
    """The error for a call id that the ledger does not have."""
    return CallUnknown("no call of that id is known, or its retention is over")


def gateway_fault() -> InternalFault:
    """The error for a bug in the gateway, whose traceback must be logged."""
    return InternalFault("the gateway failed; see its log")


def trailing_metadata(ending: Ending) -> Pairs:
    """The call's timing, and the handler's own trailing metadata."""
    outcome = call_pb2.Outcome.FromString(ending.outcome)
    return timing_metadata(ending.queue_ms, ending.run_ms, ending.attempts) + tuple(
        to_pairs(outcome.trailing_metadata)
    )


def timing_metadata(
    queue_ms: int, run_ms: int, attempts: int
) -> tuple[tuple[str, str | bytes], ...]:
    """Queue time, run time and attempts as trailing metadata."""
    return ((QUEUE_MS, str(queue_ms)), (RUN_MS, str(run_ms)), (ATTEMPTS, str(attempts)))
