"""How an attempt that failed is written down."""

from __future__ import annotations

from forebay.errors import ForebayError, to_status
from forebay.v1 import call_pb2


def failed(error: ForebayError) -> call_pb2.Outcome:
    """The outcome of a call that ended with this error."""
    status = to_status(error)
    return call_pb2.Outcome(
        code=status.code, message=status.message, details=status.SerializeToString()
    )
