"""The request that cancels a call by its id, on any gateway.

A gateway can't distinguish a caller that cancels from a connection that broke, so the call goes
on for its linger. A caller that cancels therefore sends CancelOperation, too. That is best
effort: it takes at most `TIMEOUT_S`, and its failure is ignored.
"""

from __future__ import annotations

from google.longrunning import operations_pb2

from forebay.resume.policy import ResumePolicy

PATH = "/google.longrunning.Operations/CancelOperation"
TIMEOUT_S = 2.0


def cancel_request(call: ResumePolicy) -> bytes | None:
    """The serialized request; None if the call does not end when its caller disconnects."""
    if not call.ends_on_disconnect:
        return None
    request = operations_pb2.CancelOperationRequest(name=f"operations/{call.call_id}")
    return bytes(request.SerializeToString())
