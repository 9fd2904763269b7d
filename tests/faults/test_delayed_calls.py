"""Calls that are due while servers are away, and tasks that are told of ends meanwhile."""

from __future__ import annotations

import contextlib
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
from tests.harness import eventually
from tests.told.running import ENDS, RUNS, Told, left

pytestmark = pytest.mark.variant

DELAY_S, AWAY_S = 3.0, 3.0
LATE_S = 10.0
"""Much later than calls start, on a machine that runs other tests, too."""
COUNT = 20
MANY = 1000


def accepted(serving: Gateway, count: int, delay_s: float, prefix: str) -> list[str]:
    """Starts detached calls; returns when all are accepted, and leaves them."""
    names = [f"{prefix}-{number}" for number in range(count)]
    after = ("forebay-start-after", f"{delay_s}s")
    calls = [
        serving.stub.Detached(
            EchoRequest(text="x", count=1), metadata=(("forebay-call-id", name), after)
        )
        for name in names
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


def late_s(ledger: Server, name: str) -> float:
    return (int(field(ledger, name, "queued_at")) - int(field(ledger, name, "start_at"))) / 1000


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
            all_succeed(ledger, names)
            assert [begun(working, name) for name in names] == [1] * COUNT


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
            assert max(late_s(ledger, name) for name in names) < LATE_S


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
        assert late[-1] < LATE_S, f"late: {late[-1]} s, half of them {late[MANY // 2]} s"
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
