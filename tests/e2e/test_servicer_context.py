"""The same servicer inspects its context and requests on `grpc.server` and on Forebay.

Both servers run in this process. Callers receive the same, and handlers see the same: values,
types, and types of exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest

from forebay_gateway.testing import serving
from tests.e2e.probed import ECHO, compare
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from tests.servicers.probing.servicer import Probing
from tests.servicers.probing.streams import REQUEST_PROBES, STREAMS
from tests.servicers.probing.unary import PROBES

CALLBACKS = {  # what is to be in CALLED before the next call
    "cancelled": 1,
    "callbacks": 3,
    "after the end": 1,
    "iterator after cancel": 2,
    "iterator after the end": 1,
}


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


@pytest.mark.parametrize("method", ["Unary", "Quick"])
@pytest.mark.parametrize("act", PROBES)
def test_a_unary_handler_sees_and_does_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


@pytest.mark.parametrize("method", ["ClientStream", "Listen"])
@pytest.mark.parametrize("act", REQUEST_PROBES)
def test_an_iterator_over_requests_is_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


@pytest.mark.parametrize("method", ["ServerStream", "Bidi", "Talk"])
@pytest.mark.parametrize("act", STREAMS)
def test_a_stream_of_responses_is_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))
