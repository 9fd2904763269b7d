"""The explicit cancel of a call, by its name, on any gateway.

gRPC can't tell a caller that cancels from one whose network blinked, so a call lives
on for its linger when its caller has gone. One that leaves for good says so, if
it can: this is a courtesy, waited for as long as `TIMEOUT_S` and never an error.
"""

from __future__ import annotations

from google.longrunning import operations_pb2

from forebay.resume.policy import ResumePolicy

PATH = "/google.longrunning.Operations/CancelOperation"
TIMEOUT_S = 2.0


def cancellation(call: ResumePolicy) -> bytes | None:
    """The request that cancels a call whose caller leaves; None where nothing is to be said."""
    if not call.is_stopped_by_leaving:
        return None
    request = operations_pb2.CancelOperationRequest(name=f"operations/{call.call_id}")
    return bytes(request.SerializeToString())
