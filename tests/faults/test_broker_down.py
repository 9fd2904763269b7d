"""A broker that is down for longer than a lease, while the ledger runs."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator

import pytest

from forebay.metadata import ATTEMPTS
from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server, server
from tests.faults.echoes import TIMEOUT_S, begun, gateway, indexes, named, slow, take, worker
from tests.harness import eventually

AWAY_S = LEASE_S + 3.0
EVERY_S = 0.5
COUNT = round((AWAY_S + 4.0) / EVERY_S)


@contextlib.contextmanager
def killed(broker: Server) -> Iterator[None]:
    broker.kill()
    yield
    broker.start()


@pytest.mark.variant
@pytest.mark.parametrize(
    "outage", [pytest.param(killed, id="killed"), pytest.param(Server.frozen, id="frozen")]
)
def test_a_prefork_workers_leases_are_renewed_while_its_loop_blocks(
    outage: Callable[[Server], contextlib.AbstractContextManager[None]],
) -> None:
    call_id = f"call-{uuid.uuid4()}"
    with contextlib.ExitStack() as stack:
        ledger, broker = stack.enter_context(server()), stack.enter_context(server())
        urls = {"FOREBAY_LEDGER_URL": ledger.url, "FOREBAY_BROKER_URL": broker.url}
        serving = stack.enter_context(gateway(**urls))
        working = stack.enter_context(worker("prefork", **urls))
        eventually(serving.serving, "the gateway serves")
        call = serving.stub.ServerStream(
            slow(COUNT, EVERY_S), timeout=TIMEOUT_S, metadata=named(call_id)
        )
        responses = take(call, 2)
        with outage(broker):
            until = time.monotonic() + AWAY_S
            while time.monotonic() < until:
                responses += take(call, 1)
        responses += call
        assert indexes(responses) == list(range(COUNT))
        assert dict(call.trailing_metadata())[ATTEMPTS] == "1"
        assert begun(working, call_id) == 1
        eventually(serving.serving, "the gateway serves again")
        assert serving.stub.Unary(EchoRequest(text="x"), timeout=TIMEOUT_S).text == "x"
