"""The same interceptors around the same servicer on `grpc.server` and on Forebay.

Both servers run in this process. Callers receive the same, and interceptors see the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from forebay_gateway.testing import serving
from tests.echo.v1 import echo_pb2
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from tests.echo.worker import EchoServicer
from tests.harness import eventually
from tests.servicers.intercepting import INTERCEPTORS, SEEN, Chosen

ECHO = echo_pb2.DESCRIPTOR.services_by_name["EchoService"]
TIMEOUT_S = 20.0
CHOSEN = Chosen()
METHODS = ("Unary", "Quick", "ServerStream", "ClientStream", "Bidi", "Talk", "Listen")


@contextmanager
def grpc_server() -> Iterator[grpc.Channel]:
    server = grpc.server(ThreadPoolExecutor(1), interceptors=(CHOSEN,))
    add_EchoServiceServicer_to_server(EchoServicer(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    server.stop(None).wait()


@pytest.fixture(scope="module")
def stubs() -> Iterator[Sequence[EchoServiceStub]]:
    fleet = serving({ECHO: EchoServicer()}, interceptors=(CHOSEN,), concurrency=1)
    with grpc_server() as ordinary, fleet as service:
        yield [EchoServiceStub(ordinary), EchoServiceStub(service.channel)]


def seen(stub: EchoServiceStub, method: str, act: str = "") -> tuple[Any, ...]:
    """Everything that a caller receives, and that the interceptors saw."""
    SEEN.clear()
    descriptor = ECHO.methods_by_name[method]
    sent = [EchoRequest(text=letter, count=2, act=act) for letter in "abc"]
    call = getattr(stub, method)
    begin = call if descriptor.server_streaming else call.future
    requests = iter(sent) if descriptor.client_streaming else sent[0]
    running = begin(requests, timeout=TIMEOUT_S, metadata=(("x-wish", "tea"),))
    responses: list[tuple[int, str]] = []
    failed = False
    try:
        for response in running if descriptor.server_streaming else [running.result()]:
            responses.append((response.index, response.text))
    except grpc.RpcError as error:
        failed = of_rpc_error(error).reason == "HANDLER_FAILED"
    code, details = running.code(), running.details()
    if failed or details.startswith(("Exception calling", "Error in service handler")):
        code, details = "failed", ""
    if any(saw.startswith("returned") for saw in SEEN):
        eventually(lambda: "the call ended" in SEEN, "the callback")
    trailing = [one for one in running.trailing_metadata() if one[0].startswith("x-")]
    return responses, code, details, trailing, without_metadata(method)


def without_metadata(method: str) -> list[str]:
    """The results without metadata, which the routes of some methods don't forward."""
    forwards = method in ("Unary", "Quick", "Bidi")
    return [saw if forwards else saw.replace("[('x-wish', 'tea')]", "[]") for saw in SEEN]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", INTERCEPTORS)
def test_interceptors_do_the_same(stubs: Sequence[EchoServiceStub], name: str, method: str) -> None:
    CHOSEN.interceptors = INTERCEPTORS[name]
    ordinary, forebay = (seen(stub, method) for stub in stubs)
    assert forebay == ordinary


@pytest.mark.parametrize("act", ["abort", "abort with details", "set code", "raise", "metadata"])
@pytest.mark.parametrize("name", ["watching", "wraps requests and responses"])
def test_a_handler_ends_in_the_same_way_within_interceptors(
    stubs: Sequence[EchoServiceStub], name: str, act: str
) -> None:
    CHOSEN.interceptors = INTERCEPTORS[name]
    ordinary, forebay = (seen(stub, "Unary", act) for stub in stubs)
    assert forebay == ordinary


def test_a_call_without_a_handler_is_unimplemented(stubs: Sequence[EchoServiceStub]) -> None:
    CHOSEN.interceptors = INTERCEPTORS["None"]
    responses, code, details, _, saw = seen(stubs[1], "Unary")
    assert (responses, code, details) == (
        [],
        grpc.StatusCode.UNIMPLEMENTED,
        "Method not found!",
    )
    assert saw == [
        "outer before /tests.echo.v1.EchoService/Unary [('x-wish', 'tea')]",
        "outer after None",
    ]
