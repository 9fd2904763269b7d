"""Live calls on every pair of backends, each pair with another Celery pool."""

from __future__ import annotations

from collections.abc import Iterator
from queue import SimpleQueue

import grpc
import pytest

from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

TIMEOUT_S = 60.0
ROUNDS = 30


@pytest.fixture(scope="module")
def stub(backend: dict[str, str]) -> Iterator[EchoServiceStub]:
    env = echo_environment(**backend)
    pools = {(): "prefork", ("LEDGER",): "threads", ("BROKER", "LEDGER"): "solo"}
    given = tuple(name for name in ("BROKER", "LEDGER") if f"FOREBAY_{name}_URL" in backend)
    pool = pools.get(given, "prefork")
    with (
        echo_gateway(env) as (_, address),
        echo_worker(env, pool, slots=1),
        grpc.insecure_channel(address) as channel,
    ):
        yield EchoServiceStub(channel)


@pytest.mark.parametrize("method", ["Talk", "TalkAgain"])
def test_each_ping_has_its_pong_before_the_next(stub: EchoServiceStub, method: str) -> None:
    pings: SimpleQueue[EchoRequest | None] = SimpleQueue()
    call = getattr(stub, method)(iter(pings.get, None), timeout=TIMEOUT_S)
    for number in range(ROUNDS):
        pings.put(EchoRequest(text=str(number)))
        assert next(call).text == str(number)
    pings.put(None)
    assert list(call) == []
    assert call.code() is grpc.StatusCode.OK


def test_a_stream_that_is_complete_at_the_start_is_read_to_its_end(stub: EchoServiceStub) -> None:
    requests = (EchoRequest(text=str(number)) for number in range(500))
    answer = stub.Listen(requests, timeout=TIMEOUT_S)
    assert (answer.text, answer.index) == ("".join(map(str, range(500))), 500)


def test_an_idle_caller_frees_the_only_slot(stub: EchoServiceStub) -> None:
    pings: SimpleQueue[EchoRequest | None] = SimpleQueue()
    pings.put(EchoRequest(text="0"))
    idle = stub.TalkFast(iter(pings.get, None), timeout=TIMEOUT_S)
    assert next(idle).text == "0"
    assert stub.Unary(EchoRequest(text="next"), timeout=TIMEOUT_S).text == "next"
    assert idle.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    pings.put(None)
