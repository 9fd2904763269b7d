"""Converts errors into the outcomes that records hold, and back. Pure."""

from __future__ import annotations

from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from forebay.errors import ForebayError, HandlerAborted
from forebay.errors.status import from_status, to_status
from forebay.v1 import call_pb2


def outcome_of_error(error: ForebayError) -> call_pb2.Outcome:
    """The outcome of a call that ended with this error."""
    status = to_status(error)
    return call_pb2.Outcome(
        code=status.code, message=status.message, details=status.SerializeToString()
    )


def error_of_outcome(outcome: call_pb2.Outcome) -> ForebayError | None:
    """The error of a handler's outcome; None for OK.

    Details without an ErrorInfo get one, with reason HANDLER_ABORTED.
    """
    if outcome.code == 0:
        return None
    try:
        status = status_pb2.Status.FromString(outcome.details)
    except DecodeError:
        status = status_pb2.Status()
    status.code, status.message = outcome.code, outcome.message
    error = from_status(outcome.code, outcome.message, status)
    if not error.reason:
        aborted = HandlerAborted(outcome.message)
        aborted.code = outcome.code
        status.details.extend(to_status(aborted).details)
        aborted.status = status
        return aborted
    return error
