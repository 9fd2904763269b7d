"""What a caller of a probing servicer receives, in a form that is compared between servers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import grpc
from google.rpc import error_details_pb2, status_pb2

from forebay.rpc_errors import of_rpc_error
from tests.e2e.interop import TRIES, was_quick
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually
from tests.servicers.probing.reporting import CALLED

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
TIMEOUT_S = 20.0
REQUEST_METADATA = (("x-wish", "tea"), ("x-grpc-test-echo-trailing-bin", b"\x00\xff"))
STATUS = "grpc-status-details-bin"
OWN_FAILURES = (
    *("Exception calling", "Exception iterating", "Failed to serialize"),
    "Unexpected <class",
)
"""How messages of a handler's failure begin, by grpc.server and by grpc.aio.server; Forebay's is
HANDLER_FAILED."""


class Seen(NamedTuple):
    """The observations of a call; of a cancelled one, only the first three count."""

    responses: list[str]
    code: Any
    called: list[str]
    details: str = ""
    initial: Sequence[tuple[str, Any]] = ()
    trailing: Sequence[tuple[str, Any]] = ()


def own(metadata: Any) -> list[tuple[str, Any]]:
    """The handler's own metadata, without the ErrorInfo that Forebay adds."""
    found = []
    for key, value in metadata:
        if key == STATUS:
            status = status_pb2.Status.FromString(value)
            details = [
                d for d in status.details if not d.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)
            ]
            found += [(key, [d.SerializeToString() for d in details])] if details else []
        elif not key.startswith(("forebay-", "user-agent", "traceparent")):
            found.append((key, value))
    return sorted(found, key=lambda pair: pair[0])


def compare(stubs: Sequence[EchoServiceStub], method: str, act: str, *, callbacks: int = 0) -> None:
    """Asserts that a caller and the handler's callbacks see the same of gRPC and of Forebay.

    Waits for so many observations of `callbacks`. A handler's initial metadata may come too late
    for the caller of a durable call: such a call is made again.
    """
    of_grpc, of_forebay = stubs
    expected, _ = _seen(of_grpc, method, act, callbacks)
    without_initial = expected._replace(initial=[])
    for _ in range(TRIES):
        found, quick = _seen(of_forebay, method, act, callbacks)
        if quick or found == expected or found != without_initial:
            break
    assert found == expected


def _seen(stub: EchoServiceStub, method: str, act: str, callbacks: int) -> tuple[Seen, bool]:
    """Everything that is seen of a call, and whether it was quick."""
    CALLED.clear()
    descriptor = ECHO.methods_by_name[method]
    detail = error_details_pb2.RequestInfo(request_id="1")
    status = status_pb2.Status(code=5, message="gone")
    status.details.add().Pack(detail)
    first = EchoRequest(act=act, ballast=status.SerializeToString())
    later = [EchoRequest(text=letter) for letter in "abcde"]
    requests = iter([first, *later]) if descriptor.client_streaming else first
    call = getattr(stub, method)
    begin = call if descriptor.server_streaming else call.future
    timeout = None if act == "no deadline" else TIMEOUT_S
    running = begin(requests, timeout=timeout, metadata=REQUEST_METADATA)
    responses: list[str] = []
    failure = ""
    try:
        for response in running if descriptor.server_streaming else [running.result()]:
            responses.append(response.text)
    except grpc.RpcError as error:
        failure = of_rpc_error(error).reason
    eventually(lambda: len(CALLED) >= callbacks, f"callbacks of {act}", TIMEOUT_S)
    code, details = running.code(), running.details()
    initial, trailing = running.initial_metadata(), running.trailing_metadata()
    quick = was_quick(dict(trailing or ()))
    if failure == "HANDLER_FAILED" or details.startswith(OWN_FAILURES):
        code, details = "failed", ""
    if code is grpc.StatusCode.CANCELLED:
        # Its details are of the stream's reset, or of the call.
        return Seen(responses, code, [*CALLED]), quick
    return Seen(responses, code, [*CALLED], details, own(initial), own(trailing)), quick
