"""The status and trailing metadata that a handler sets. Pure.

As in `grpc.server`, a handler can read back what it has set: None before that, details as bytes, a
code as any object. A code that is not a `grpc.StatusCode` reaches the caller as UNKNOWN.
"""

from __future__ import annotations

import logging

import grpc

from forebay.errors.status import STATUS_DETAILS_KEY
from forebay.metadata import GrpcMetadata, from_pairs
from forebay.v1 import call_pb2

UNKNOWN: int = grpc.StatusCode.UNKNOWN.value[0]

_log = logging.getLogger(__name__)


class HandlerStatus:
    """The status that a context's `set_…` and `abort…` methods set."""

    def __init__(self) -> None:
        self.code: object = None
        self.details: bytes | None = None
        self.trailing: GrpcMetadata | None = None
        self._stored_trailing = call_pb2.Metadata()
        self._aborted = False

    def set_details(self, details: str | bytes) -> None:
        self.details = details if isinstance(details, bytes) else details.encode()

    def set_trailing(self, trailing: GrpcMetadata | None) -> None:
        """Raises TypeError or ValueError for metadata that gRPC can't send."""
        self._stored_trailing = from_pairs(trailing)
        self.trailing = trailing

    def abort(self, code: object, details: str | bytes) -> None:
        """Sets the status; instead of OK, UNKNOWN without details, as in `grpc.server`."""
        if code is grpc.StatusCode.OK:
            _log.error("abort() was called with OK; the call ends with UNKNOWN")
            code, details = grpc.StatusCode.UNKNOWN, ""
        self.code, self._aborted = code, True
        self.set_details(details)

    @property
    def number(self) -> int:
        """The code as a number."""
        if isinstance(self.code, grpc.StatusCode):
            return int(self.code.value[0])
        return 0 if self.code is None and not self._aborted else UNKNOWN

    def outcome(self, failure: call_pb2.Outcome | None = None) -> call_pb2.Outcome:
        """Returns the status that the handler has set, or `failure`, and the trailing metadata.

        If the handler has set an error, a `google.rpc.Status` in the metadata becomes its details.
        """
        outcome = call_pb2.Outcome(code=self.number, message=_text(self.details or b""))
        if failure is not None:
            outcome.CopyFrom(failure)
        for entry in self._stored_trailing.entries:
            if not outcome.code or entry.key != STATUS_DETAILS_KEY:
                outcome.trailing_metadata.entries.append(entry)
            elif failure is None:
                outcome.details = entry.value
        return outcome


def _text(details: bytes) -> str:
    try:
        return details.decode()
    except UnicodeDecodeError:
        return details.decode("latin-1")  # as gRPC's Python client does
