"""Calls that are due while servers are away, and tasks that are told of ends meanwhile."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.api_core.operations_v1 import OperationsClient

from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server, server
from tests.faults.echoes import Gateway, begun, gateway, worker
from tests.harness import LATE_START_S, eventually
from tests.told.running import ENDS, RUNS, Told, left

pytestmark = pytest.mark.variant

DELAY_S, AWAY_S = 3.0, 3.0
LATE_AFTER_OUTAGE_S = 3.0
"""From when the ledger is back: 1 s is documented, and took 0.7 s with five processes a core."""
LATE_AFTER_RESTART_S = 7.0
"""From when a gateway is back and nothing had run: it must first be sure of the ledger's clock. 5 s
are documented, and it took 1.5 s with five processes a core."""
CLOCK_IN_DOUBT_S = 11.0
COUNT = 20
MANY = 1000
AT_ONCE = 100


def accepted(serving: Gateway, count: int, delay_s: float, prefix: str) -> list[str]:
    """Starts detached calls; returns when all are accepted, and leaves them."""
    names = [f"{prefix}-{number}" for number in range(count)]
    after = ("forebay-start-after", f"{delay_s}s")
    for first in range(0, count, AT_ONCE):
        calls = [
            serving.stub.Detached(
                EchoRequest(text="x", count=1), metadata=(("forebay-call-id", name), after)
            )
            for name in names[first : first + AT_ONCE]
        ]
        for call in calls:
            assert dict(call.initial_metadata())["forebay-attached"] == "new"
            call.cancel()
    return names


def field(ledger: Server, name: str, what: str) -> str:
    call = CallKey(name)
    return (ledger.client.hget(f"{call.partition}:call:{call}", what) or b"").decode()


def all_succeed(ledger: Server, names: list[str]) -> None:
    def have() -> bool:
        return all(field(ledger, name, "state") == "SUCCEEDED" for name in names)

    eventually(have, "all run", 60.0)


def queued(ledger: Server, names: list[str]) -> None:
    eventually(lambda: all(field(ledger, name, "queued_at") for name in names), "all start", 60.0)


def late_s(ledger: Server, name: str, since_s: float = 0.0) -> float:
    """How much later it was queued than it was due and than this time of the ledger's clock."""
    start_s = int(field(ledger, name, "start_at")) / 1000
    return int(field(ledger, name, "queued_at")) / 1000 - max(start_s, since_s)


def ledger_s(ledger: Server) -> float:
    seconds, microseconds = ledger.client.time()  # type: ignore[misc]
    return float(seconds + microseconds / 1e6)


@contextlib.contextmanager
def killed(one: Server) -> Iterator[None]:
    one.kill()
    yield
    one.start()


def test_calls_that_are_due_while_the_ledger_is_down_run_once_when_it_is_back() -> None:
    with server() as ledger:
        urls = {"FOREBAY_LEDGER_URL": ledger.url}
        with gateway(**urls) as serving, worker("threads", **urls) as working:
            eventually(serving.serving, "the gateway serves")
            names = accepted(serving, COUNT, DELAY_S, "ledger")
            with killed(ledger):
                time.sleep(DELAY_S + AWAY_S)
            back_s = ledger_s(ledger)
            all_succeed(ledger, names)
            assert [begun(working, name) for name in names] == [1] * COUNT
            assert max(late_s(ledger, name, back_s) for name in names) < LATE_AFTER_OUTAGE_S


def test_calls_start_in_time_while_workers_restart() -> None:
    with server() as ledger:
        urls = {"FOREBAY_LEDGER_URL": ledger.url}
        with gateway(**urls) as serving:
            eventually(serving.serving, "the gateway serves")
            with worker("threads", **urls) as working:
                names = accepted(serving, COUNT, DELAY_S, "workers")
                working.stop(signal.SIGKILL)
            queued(ledger, names)
            assert max(late_s(ledger, name) for name in names) < LATE_START_S
            with worker("threads", **urls) as working:
                all_succeed(ledger, names)
                assert [begun(working, name) for name in names] == [1] * COUNT


def test_calls_start_soon_after_a_gateway_is_back_when_nothing_had_run() -> None:
    with server() as ledger:
        urls = {"FOREBAY_LEDGER_URL": ledger.url, "FOREBAY_QUEUE_WAIT_S": "600"}
        with gateway(**urls) as serving:
            eventually(serving.serving, "the gateway serves")
            names = accepted(serving, COUNT, DELAY_S, "nothing")
            serving.process.stop(signal.SIGKILL)
        gone_s = ledger_s(ledger)
        eventually(lambda: ledger_s(ledger) > gone_s + CLOCK_IN_DOUBT_S, "the clock is in doubt")
        with gateway(**urls):
            back_s = ledger_s(ledger)
            queued(ledger, names)
            late = [late_s(ledger, name, back_s) for name in names]
            assert max(late) < LATE_AFTER_RESTART_S


def test_calls_that_are_due_while_the_broker_is_down_run_once_when_it_is_back() -> None:
    with server() as ledger, server() as broker:
        urls = {"FOREBAY_LEDGER_URL": ledger.url, "FOREBAY_BROKER_URL": broker.url}
        with gateway(**urls) as serving, worker("threads", **urls) as working:
            eventually(serving.serving, "the gateway serves")
            names = accepted(serving, COUNT, DELAY_S, "broker")
            with killed(broker):
                queued(ledger, names)
                time.sleep(AWAY_S)
            all_succeed(ledger, names)
            assert [begun(working, name) for name in names] == [1] * COUNT
            assert max(late_s(ledger, name) for name in names) < LATE_START_S


def test_many_calls_that_are_due_at_once_start_in_time() -> None:
    with (
        server("everysec") as ledger,
        gateway(FOREBAY_LEDGER_URL=ledger.url, FOREBAY_QUEUE_WAIT_S="600") as serving,
    ):
        eventually(serving.serving, "the gateway serves")
        names = accepted(serving, MANY, 15.0, "many")
        queued(ledger, names)
        late = sorted(late_s(ledger, name) for name in names)
        assert late[0] >= 0
        assert late[-1] < LATE_START_S, f"late: {late[-1]} s, half of them {late[MANY // 2]} s"
        assert ledger.client.llen("echo\x06\x169") == MANY, "each has one message"


def test_a_task_is_told_of_ends_that_came_while_the_broker_was_down(tmp_path: Path) -> None:
    with server() as ledger, server() as broker:
        urls = {"FOREBAY_LEDGER_URL": ledger.url, "FOREBAY_BROKER_URL": broker.url}
        told = Told(tmp_path, urls)
        with told.worker(*RUNS, *ENDS), told.gateway() as (_, address):
            left(address, "ends-meanwhile", forebay_start_after="20m")
            with killed(broker):
                cancelled(address, "ends-meanwhile")
                time.sleep(AWAY_S)
                assert told.all("ends-meanwhile") == []
            assert told.of("ends-meanwhile")["state"] == "CANCELLED"


def cancelled(address: str, name: str) -> None:
    with grpc.insecure_channel(address) as channel:
        OperationsClient(channel).cancel_operation(f"operations/{name}")
