"""The same servicer inspects its context and requests on `grpc.server` and on Forebay.

Both servers run in this process. Callers receive the same, and handlers see the same: values,
types, and types of exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from forebay.rpc_errors import of_rpc_error
from forebay_gateway.testing import serving
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from tests.harness import eventually
from tests.servicers.probing.reporting import CALLED
from tests.servicers.probing.servicer import Probing
from tests.servicers.probing.streams import REQUEST_PROBES, STREAMS
from tests.servicers.probing.unary import PROBES

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
TIMEOUT_S = 20.0
REQUEST_METADATA = (("x-wish", "tea"), ("x-grpc-test-echo-trailing-bin", b"\x00\xff"))
STATUS = "grpc-status-details-bin"
OWN_FAILURES = ("Exception calling", "Exception iterating", "Failed to serialize")
"""How grpc.server's messages of a handler's failure begin; Forebay's is HANDLER_FAILED."""
CALLBACKS = {  # what is to be in CALLED before the next call
    "cancelled": 1,
    "callbacks": 3,
    "after the end": 1,
    "iterator after cancel": 2,
    "iterator after the end": 1,
}

Seen = tuple[Any, ...]


@contextmanager
def grpc_server() -> Iterator[grpc.Channel]:
    server = grpc.server(ThreadPoolExecutor(4))
    add_EchoServiceServicer_to_server(Probing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


@pytest.fixture(scope="module")
def stubs() -> Iterator[Sequence[EchoServiceStub]]:
    with grpc_server() as ordinary, serving({ECHO: Probing()}) as service:
        yield [EchoServiceStub(ordinary), EchoServiceStub(service.channel)]


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


def seen(stub: EchoServiceStub, method: str, act: str, timeout: float | None = TIMEOUT_S) -> Seen:
    """Everything that a caller receives, and that the handler's callbacks and threads saw."""
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
    running = begin(requests, timeout=timeout, metadata=REQUEST_METADATA)
    responses: list[str] = []
    failure = ""
    try:
        for response in running if descriptor.server_streaming else [running.result()]:
            responses.append(response.text)
    except grpc.RpcError as error:
        failure = of_rpc_error(error).reason
    eventually(lambda: len(CALLED) >= CALLBACKS.get(act, 0), f"callbacks of {act}", TIMEOUT_S)
    code, details = running.code(), running.details()
    if failure == "HANDLER_FAILED" or details.startswith(OWN_FAILURES):
        code, details = "failed", ""
    if code is grpc.StatusCode.CANCELLED:
        details = ""  # of the stream's reset, and of the call
        return responses, code, [*CALLED]
    initial, trailing = own(running.initial_metadata()), own(running.trailing_metadata())
    return responses, code, details, initial, trailing, [*CALLED]


@pytest.mark.parametrize("method", ["Unary", "Quick"])
@pytest.mark.parametrize("act", PROBES)
def test_a_unary_handler_sees_and_does_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    timeout = None if act == "no deadline" else TIMEOUT_S
    ordinary, forebay = (seen(stub, method, act, timeout) for stub in stubs)
    assert forebay == ordinary


@pytest.mark.parametrize("method", ["ClientStream", "Listen"])
@pytest.mark.parametrize("act", REQUEST_PROBES)
def test_an_iterator_over_requests_is_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    ordinary, forebay = (seen(stub, method, act) for stub in stubs)
    assert forebay == ordinary


@pytest.mark.parametrize("method", ["ServerStream", "Bidi", "Talk"])
@pytest.mark.parametrize("act", STREAMS)
def test_a_stream_of_responses_is_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    ordinary, forebay = (seen(stub, method, act) for stub in stubs)
    assert forebay == ordinary
