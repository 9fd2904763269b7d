"""An outage of the ledger that is longer than a lease loses no call: workers could not report."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.running import COROUTINES_APP, ECHO_APP, echo_environment, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server, server
from tests.faults.echoes import TIMEOUT_S, gateway
from tests.harness import eventually

AWAY_S = LEASE_S + 5.0
RUNNING = EchoRequest(text="running", act="sleep", seconds=AWAY_S + 6.0)
JUST_TAKEN = EchoRequest(text="taken", act="sleep", seconds=AWAY_S + 4.0)
"""Its worker has not reported it yet when the outage begins."""
SHORT = EchoRequest(text="short", act="sleep", seconds=1.0)
SLOTS, SHORT_CALLS = 8, 12
"""Five slots are left for them: some end in the outage, others wait."""


OUTAGES: dict[str, Callable[[Server], contextlib.AbstractContextManager[None]]] = {
    "frozen": Server.frozen,
    "killed": Server.killed,
}
CASES = [
    ("one server", "frozen", "threads"),
    *(
        pytest.param(*case, marks=pytest.mark.variant)
        for case in (
            ("two servers", "killed", "asyncio"),
            ("one server", "killed", "prefork"),
            ("two servers", "frozen", "prefork"),
            ("one server", "killed", "asyncio"),
        )
    ),
]


@pytest.mark.parametrize(("servers", "outage", "pool"), CASES)
def test_calls_that_may_not_run_again_go_on(servers: str, outage: str, pool: str) -> None:
    """With two servers, the broker's keeps running, and says which messages have left its queue."""
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(server())
        urls = {"FOREBAY_LEDGER_URL": ledger.url, "FOREBAY_QUEUE_WAIT_S": str(TIMEOUT_S)}
        if servers == "two servers":
            urls["FOREBAY_BROKER_URL"] = stack.enter_context(server()).url
        serving = stack.enter_context(gateway(**urls))
        app = COROUTINES_APP if pool == "asyncio" else ECHO_APP
        env = echo_environment(**urls)
        working = stack.enter_context(echo_worker(env, pool, SLOTS, app))
        eventually(serving.serving, "the gateway serves")
        stub = serving.stub
        calls = [method.future(RUNNING, timeout=TIMEOUT_S) for method in (stub.Quick, stub.Unary)]
        time.sleep(LEASE_S / 3)
        calls.append(stub.Quick.future(JUST_TAKEN, timeout=TIMEOUT_S))
        eventually(lambda: working.output.count("received") == 3, "the calls are taken")
        calls += [stub.Quick.future(SHORT, timeout=TIMEOUT_S) for _ in range(SHORT_CALLS)]
        time.sleep(0.3)
        with OUTAGES[outage](ledger):
            time.sleep(AWAY_S)
        texts = [call.result().text for call in calls]
        assert texts == ["running", "running", "taken", *["short"] * SHORT_CALLS]
        attempts = [dict(call.trailing_metadata())["forebay-attempts"] for call in calls]
        assert attempts == ["1"] * len(calls)
