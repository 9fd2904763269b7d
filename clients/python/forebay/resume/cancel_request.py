"""The request that cancels a call by its id, which any gateway accepts.

To a gateway, a caller that cancels looks like a broken connection, after which the call continues
for its route's `limits.linger`. So a caller that cancels also sends CancelOperation. This is best
effort: the RPC takes at most `TIMEOUT_S`, and its failure is ignored.
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
