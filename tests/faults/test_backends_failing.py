"""A ledger that is down: new calls fail soon, calls in flight wait, and both recover."""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Link, Server, link, server
from tests.faults.echoes import (
    TIMEOUT_S,
    Gateway,
    begun,
    error_of,
    gateway,
    indexes,
    named,
    slow,
    take,
    worker,
)
from tests.harness import Process, eventually

BOUND_S = 5.0
"""The time within which a new call fails while the ledger is down."""
SLACK_S = 10.0
"""For a machine that runs other tests, too."""
HEALTH_S = 3.5
REQUEST = EchoRequest(text="hello")


class System:
    """A gateway and a worker, and their links to one ledger."""

    def __init__(self, server: Server, link: Link, gateway: Gateway, worker: Process) -> None:
        self.server = server
        self.link = link
        self.gateway = gateway
        self.worker = worker

    def spooled(self, call_id: str) -> int:
        """The number of requests of the call that the ledger has."""
        call = CallKey(call_id)
        length: Any = self.server.client.xlen(f"{call.partition}:inputs:{call}")
        return int(length)


@pytest.fixture(scope="module")
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """Broker and ledger on one server, or on two, of which the broker's keeps running."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(server())
        gateways = stack.enter_context(link(ledger.port))
        broker = {}
        if request.param == "two servers":
            broker["FOREBAY_BROKER_URL"] = stack.enter_context(server()).url
        serving = stack.enter_context(gateway(FOREBAY_LEDGER_URL=gateways.url, **broker))
        working = stack.enter_context(worker(FOREBAY_LEDGER_URL=ledger.url, **broker))
        eventually(serving.serving, "the gateway serves")
        yield System(ledger, gateways, serving, working)


Outage = Callable[[System], contextlib.AbstractContextManager[None]]
OUTAGES: dict[str, Outage] = {
    "killed": lambda system: system.server.killed(),
    "frozen": lambda system: system.server.frozen(),
    "cut off": lambda system: system.link.cut(),
    "unheard": lambda system: system.link.silent(),
    "full": lambda system: system.server.refusing(
        "CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"
    ),
    "read-only": lambda system: system.server.refusing("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "short of replicas": lambda system: system.server.refusing(
        "CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0"
    ),
}


ONE, TWO = "one server", "two servers"
ALWAYS = {ONE: ("killed", "frozen", "cut off", "unheard"), TWO: ("killed", "unheard")}
CASES = [
    pytest.param(system, outage, marks=[pytest.mark.variant] * (outage not in outages))
    for system, outages in ALWAYS.items()
    for outage in OUTAGES
]


def fresh() -> str:
    return f"call-{uuid.uuid4()}"


@pytest.mark.parametrize(("system", "outage"), CASES, indirect=["system"])
def test_calls_fail_soon_while_the_ledger_is_down_and_succeed_when_it_is_back(
    system: System, outage: str
) -> None:
    stub, own_id, flying_id = system.gateway.stub, fresh(), fresh()
    flying = stub.ServerStream(slow(100), timeout=TIMEOUT_S, metadata=named(flying_id))
    first = take(flying, 10)
    with OUTAGES[outage](system):
        began = time.monotonic()
        refused = [
            stub.Unary.future(REQUEST, timeout=TIMEOUT_S),
            stub.Unary.future(REQUEST, timeout=TIMEOUT_S, metadata=named(own_id)),
            stub.ServerStream(slow(3), timeout=TIMEOUT_S),
            stub.ClientStream.future(iter([REQUEST]), timeout=TIMEOUT_S),
            stub.Bidi(iter([REQUEST]), timeout=TIMEOUT_S),
        ]
        for call in refused:
            error = error_of(call)
            assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
            assert error.retry_after_s is not None
        assert time.monotonic() - began < BOUND_S + SLACK_S
        eventually(
            lambda: not system.gateway.serving(), "health is NOT_SERVING", HEALTH_S + SLACK_S
        )
    eventually(system.gateway.serving, "health says that it is back", HEALTH_S + SLACK_S)
    assert indexes(first + list(flying)) == list(range(100))
    assert begun(system.worker, flying_id) == 1
    again = stub.Unary(REQUEST, timeout=TIMEOUT_S, metadata=named(own_id))
    assert again.text == "hello"
    assert begun(system.worker, own_id) == 1


@pytest.mark.parametrize("system", [ONE], indirect=True)
def test_a_slow_ledger_causes_no_errors(system: System) -> None:
    system.link.delay_s = 0.2
    try:
        responses = list(system.gateway.stub.ServerStream(slow(5), timeout=TIMEOUT_S))
    finally:
        system.link.delay_s = 0.0
    assert indexes(responses) == list(range(5))
    eventually(system.gateway.serving, "the gateway serves")


@pytest.mark.parametrize("system", [ONE, TWO], indirect=True)
@pytest.mark.parametrize("outage", ["killed", "unheard"])
def test_requests_that_are_being_spooled_wait_for_the_ledger(system: System, outage: str) -> None:
    begins, ends = threading.Event(), threading.Event()

    def requests() -> Iterator[EchoRequest]:
        for number in range(20):
            if number == 10:
                begins.set()
                ends.wait(TIMEOUT_S)
            yield EchoRequest(text=f"{number} ")

    call_id = fresh()
    call = system.gateway.stub.ClientStream.future(
        requests(), timeout=TIMEOUT_S, metadata=named(call_id)
    )
    assert begins.wait(TIMEOUT_S)
    eventually(lambda: system.spooled(call_id) == 10, "the gateway waits for more")
    with OUTAGES[outage](system):
        ends.set()
        eventually(lambda: not system.gateway.serving(), "the outage is noticed")
        assert not call.done()
    assert call.result().text.split() == [str(number) for number in range(20)]
    assert begun(system.worker, call_id) == 1
