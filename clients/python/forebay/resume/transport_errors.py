"""Which failures are the transport's: gRPC's own, a broken connection's or a proxy's. Pure.

Every error of a gateway has an ErrorInfo, also a handler's status: the gateway adds one to details
that have none. So a failure without an ErrorInfo comes from the connection between client and
gateway. Example: a gateway dies in the middle of a stream. The client gets UNAVAILABLE from a
direct connection, INTERNAL through nginx and Envoy, and UNKNOWN or CANCELLED through HAProxy.

gRPC chooses the codes: https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
for a proxy's own response, and
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors for RST_STREAM.
"""

from __future__ import annotations

import enum
import re

from google.rpc import code_pb2

from forebay.errors import ForebayError


class Retry(enum.Enum):
    """Which calls may be retried after a transport error."""

    ANY = enum.auto()
    ATTACHING = enum.auto()
    """Calls with an id: the next attempt attaches to the call that runs. One that starts over
    would meet the same limit again.
    """


_RETRIES = {
    # A connection is refused or breaks; HTTP 429, 502, 503 and 504; RST_STREAM(REFUSED_STREAM).
    code_pb2.UNAVAILABLE: Retry.ANY,
    # RST_STREAM(CANCEL): HAProxy, when a gateway is lost while the client sends.
    code_pb2.CANCELLED: Retry.ANY,
    # Other RST_STREAM: nginx and Envoy, when a gateway is lost or silent after its headers.
    # Also grpc.aio's "Internal error from Core": a connection breaks while it sends a message.
    code_pb2.INTERNAL: Retry.ANY,
    # A stream that ends without a status: HAProxy, in the same case. Other HTTP statuses.
    code_pb2.UNKNOWN: Retry.ANY,
    # A proxy's limit on the duration of a call: Envoy's `max_stream_duration`.
    code_pb2.DEADLINE_EXCEEDED: Retry.ATTACHING,
}
"""All other codes are final. PERMISSION_DENIED, UNAUTHENTICATED and UNIMPLEMENTED are a proxy's
HTTP 403, 401 and 404; RESOURCE_EXHAUSTED is a message over gRPC's own limit.
"""

_REJECTED = re.compile(r"Received http2 header with status: 4(?!08|29)\d\d")
"""grpc-core's message if a proxy rejects the request, as with 413; a retry would fail, too."""

_FAILED_HERE = frozenset(
    {
        "Exception iterating requests!",
        "Exception serializing request!",
        "Exception deserializing response!",
    }
)
"""Messages of grpcio's `_channel.py` for exceptions of the caller's own code."""


def is_transport_error(error: ForebayError) -> bool:
    """Whether the failure happened between client and gateway, and may go away."""
    return retry_of(error) is not None


def retry_of(error: ForebayError) -> Retry | None:
    """Which calls may be retried after the failure; None if none, or if a gateway sent it.

    A RetryInfo without an ErrorInfo is a proxy's; then a retry is allowed with any code.
    """
    if error.reason or error.domain:
        return None
    if error.retry_after_s is not None:
        return Retry.ANY
    if _REJECTED.search(error.message) or error.message in _FAILED_HERE:
        return None
    return _RETRIES.get(error.code)
