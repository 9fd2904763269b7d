"""The same asynchronous servicer inspects its context on `grpc.aio.server` and on Forebay.

Both servers run in this process. Callers receive the same, and handlers see the same: values,
types, and types of exceptions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from forebay_gateway.testing import serving
from tests.e2e.probed import ECHO, TIMEOUT_S, compare
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub, add_EchoServiceServicer_to_server
from tests.harness import eventually
from tests.servicers.aio_server import aio_server
from tests.servicers.probing.reporting import CALLED
from tests.servicers.probing_aio.servicer import AioProbing
from tests.servicers.probing_aio.streams import REQUEST_PROBES, STREAMS, WRITERS
from tests.servicers.probing_aio.unary import PROBES

CALLBACKS = {  # what is to be in CALLED before the next call
    "abort, swallowed": 1,
    "done callbacks": 2,
    "after the end": 1,
    "cleaned up": 1,
}


@pytest.fixture(scope="module")
def stubs() -> Iterator[Sequence[EchoServiceStub]]:
    servicer = AioProbing()
    with (
        aio_server(lambda server: add_EchoServiceServicer_to_server(servicer, server)) as address,
        grpc.insecure_channel(address) as channel,
        serving({ECHO: servicer}) as service,
    ):
        yield [EchoServiceStub(channel), EchoServiceStub(service.channel)]


@pytest.mark.parametrize("method", ["Unary", "Quick"])
@pytest.mark.parametrize("act", PROBES)
def test_a_unary_handler_sees_and_does_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_only_forebay_shows_a_handler_that_its_caller_has_cancelled(
    stubs: Sequence[EchoServiceStub], method: str
) -> None:
    """A difference in docs/coroutines.md: `cancelled()` and `done()` during the clean-up."""
    observed = []
    for stub in stubs:
        CALLED.clear()
        call = getattr(stub, method).future(EchoRequest(act="until cancelled"), timeout=TIMEOUT_S)
        eventually(lambda: len(CALLED) == 1, "the handler runs")
        call.cancel()
        eventually(lambda: len(CALLED) == 2, "the handler is cancelled")
        observed.append([*CALLED])
    grpc_aio, forebay = observed
    assert grpc_aio == ["(False, False)"] * 2
    assert forebay == ["(False, False)", "(True, True)"]


@pytest.mark.parametrize("method", ["ClientStream", "Listen"])
@pytest.mark.parametrize("act", REQUEST_PROBES)
def test_requests_are_iterated_and_read_in_the_same_way(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


@pytest.mark.parametrize("method", ["ServerStream", "Bidi"])
@pytest.mark.parametrize("act", STREAMS)
def test_an_asynchronous_generator_does_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


@pytest.mark.parametrize("method", ["Detached", "Talk"])
@pytest.mark.parametrize("act", WRITERS)
def test_a_stream_that_is_written_is_the_same(
    stubs: Sequence[EchoServiceStub], act: str, method: str
) -> None:
    compare(stubs, method, act, callbacks=CALLBACKS.get(act, 0))


def test_ordinary_methods_of_the_servicer_run_beside_coroutines(
    stubs: Sequence[EchoServiceStub],
) -> None:
    for stub in stubs:
        call = stub.Nothing.future(Empty(), timeout=TIMEOUT_S)
        assert call.result() == Empty()
        assert ("x-ordinary", "yes") in call.trailing_metadata()
