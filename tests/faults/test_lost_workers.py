"""Workers and pool children that die, freeze, or get SIGTERM."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack
from typing import Any

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.scripts import LEASE_S
from forebay_workers.lease.batch_heartbeats import HEARTBEAT_INTERVAL_S
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.fleet import FleetMonitor
from tests.faults.losing import TIMEOUT_S, calling, kill_worker, pool_children
from tests.harness import eventually

POOLS = ("threads", "solo", "asyncio")


def indexes(fleet: FleetMonitor, call_id: str, count: int, seconds: float) -> list[int]:
    """The indexes of a steady stream's stored items."""
    responses = fleet.stub.Steady(
        EchoRequest(count=count, seconds=seconds),
        metadata=(("forebay-call-id", call_id),),
        timeout=TIMEOUT_S,
    )
    return [response.index for response in responses if response.WhichOneof("part") == "text"]


def test_a_dead_pool_child_is_noticed_within_a_second_and_its_call_runs_again(
    fleet: FleetMonitor,
) -> None:
    worker = fleet.worker()
    with calling(lambda: indexes(fleet, "kill-child", 30, 0.05)) as result:
        eventually(lambda: fleet.record("kill-child").get("item_count", "0") > "2", "items are out")
        (child,) = pool_children(worker)
        child.kill()
        killed = time.monotonic()
        eventually(lambda: fleet.is_running("kill-child", attempt=2), "it runs again")
        assert time.monotonic() - killed < LEASE_S - HEARTBEAT_INTERVAL_S, "before its lease"
        assert result() == list(range(30))


def test_a_call_with_effects_whose_child_died_is_aborted(fleet: FleetMonitor) -> None:
    worker = fleet.worker()
    request = EchoRequest(act="insist", seconds=30)
    with calling(lambda: fleet.stub.Unary(request, timeout=TIMEOUT_S)) as result:
        eventually(lambda: any_running(fleet), "it runs")
        pool_children(worker)[0].kill()
        with pytest.raises(grpc.RpcError) as caught:
            result()
    error = of_rpc_error(caught.value)
    assert (error.code_name, error.reason) == ("ABORTED", "WORKER_LOST")
    assert error.retry_after_s is None


def any_running(fleet: FleetMonitor) -> bool:
    keys: Any = fleet.ledger.keys("*:call:*")
    return any(fleet.ledger.hget(key, "state") == b"RUNNING" for key in keys)


@pytest.mark.parametrize(
    "pool",
    ["prefork", *(pytest.param(pool, marks=pytest.mark.variant) for pool in POOLS)],
)
def test_a_killed_workers_calls_run_elsewhere(fleet: FleetMonitor, pool: str) -> None:
    first = fleet.worker(pool)
    with calling(lambda: indexes(fleet, "kill-worker", 200, 0.05)) as result:
        eventually(lambda: fleet.is_running("kill-worker"), "it runs")
        fleet.worker(pool)
        kill_worker(first)
        eventually(lambda: fleet.is_running("kill-worker", attempt=2), "it runs elsewhere")
        assert result() == list(range(200))


@pytest.mark.variant
def test_a_frozen_workers_calls_run_elsewhere_and_its_own_attempt_has_no_effect(
    fleet: FleetMonitor,
) -> None:
    first = fleet.worker()
    with calling(lambda: indexes(fleet, "freeze", 300, 0.05)) as result:
        eventually(lambda: fleet.is_running("freeze"), "it runs")
        fleet.worker()
        kill_worker(first, signal.SIGSTOP)
        eventually(lambda: fleet.is_running("freeze", attempt=2), "it runs elsewhere")
        kill_worker(first, signal.SIGCONT)
        first.wait_for(r"call (\w*/)?freeze was stopped")
        assert result() == list(range(300))
    assert fleet.record("freeze")["attempt"] == "2"


@pytest.mark.variant
def test_a_pool_child_ends_with_its_worker(fleet: FleetMonitor) -> None:
    worker = fleet.worker()
    call_id = (("forebay-call-id", "orphan"),)
    with calling(
        lambda: fleet.stub.Unary(
            EchoRequest(act="insist", seconds=TIMEOUT_S), metadata=call_id, timeout=TIMEOUT_S
        )
    ) as result:
        eventually(lambda: fleet.is_running("orphan"), "it runs")
        (child,) = pool_children(worker)
        os.kill(worker.popen.pid, signal.SIGKILL)
        eventually(lambda: not child.is_running(), "the child ends, too")
        with pytest.raises(grpc.RpcError):
            result()


@pytest.mark.parametrize("path", ["Unary", "Quick"])
def test_a_handler_that_ignores_its_cancellation_is_killed_after_the_grace(
    fleet: FleetMonitor, path: str
) -> None:
    worker = fleet.worker()
    before = {child.pid for child in pool_children(worker)}
    call = getattr(fleet.stub, path).future(EchoRequest(act="insist", seconds=TIMEOUT_S))
    eventually(lambda: "received" in worker.output, "it is there")
    time.sleep(0.5)  # not synchronisation: the call should run for a moment
    call.cancel()
    eventually(
        lambda: not before & {child.pid for child in pool_children(worker)}, "its child ends"
    )
    assert fleet.stub.Unary(EchoRequest(text="free"), timeout=TIMEOUT_S).text == "free"


def test_a_pool_child_survives_if_its_handler_stops_when_cancelled(fleet: FleetMonitor) -> None:
    worker = fleet.worker()
    before = {child.pid for child in pool_children(worker)}
    for path in ("Unary", "Quick"):
        call = getattr(fleet.stub, path).future(EchoRequest(act="sleep", seconds=TIMEOUT_S))
        time.sleep(0.5)  # as above
        call.cancel()
        assert fleet.stub.Unary(EchoRequest(text="free"), timeout=TIMEOUT_S).text == "free"
    assert {child.pid for child in pool_children(worker)} == before


def test_a_deadline_ends_a_handler_that_ignores_it(fleet: FleetMonitor) -> None:
    worker = fleet.worker()
    before = {child.pid for child in pool_children(worker)}
    with pytest.raises(grpc.RpcError) as caught:
        fleet.stub.Unary(EchoRequest(act="insist", seconds=TIMEOUT_S), timeout=1.0)
    assert of_rpc_error(caught.value).code_name == "DEADLINE_EXCEEDED"
    eventually(
        lambda: not before & {child.pid for child in pool_children(worker)}, "its child ends"
    )


def test_a_worker_that_gets_sigterm_finishes_begun_calls_and_releases_the_others(
    fleet: FleetMonitor,
) -> None:
    first = fleet.worker("threads")  # it prefetches
    with ExitStack() as stack:
        results = [
            stack.enter_context(calling(lambda n=n: indexes(fleet, f"warm-{n}", 10, 0.3)))  # type: ignore[misc]
            for n in range(2)
        ]
        claimed = [
            eventually(lambda n=n: "worker" in fleet.record(f"warm-{n}"), "both are claimed")  # type: ignore[misc]
            for n in range(2)
        ]
        assert claimed
        fleet.worker("threads")
        assert first.stop(signal.SIGTERM) == 0
        for result in results:
            assert result() == list(range(10))
    assert {fleet.record(f"warm-{n}")["attempt"] for n in range(2)} == {"1"}


@pytest.mark.variant
def test_an_ephemeral_call_whose_worker_was_killed_runs_elsewhere(fleet: FleetMonitor) -> None:
    first = fleet.worker()
    request = EchoRequest(act="insist", seconds=3, text="x")
    with calling(lambda: fleet.stub.QuickAgain(request, timeout=TIMEOUT_S).text) as result:
        eventually(lambda: "received" in first.output, "it is there")
        fleet.worker()
        kill_worker(first)
        assert result() == "x"


@pytest.mark.variant
def test_an_ephemeral_call_with_effects_whose_worker_was_killed_fails(fleet: FleetMonitor) -> None:
    first = fleet.worker()
    request = EchoRequest(act="insist", seconds=TIMEOUT_S)
    with calling(lambda: fleet.stub.Quick(request, timeout=TIMEOUT_S)) as result:
        eventually(lambda: "received" in first.output, "it is there")
        fleet.worker()
        kill_worker(first)
        with pytest.raises(grpc.RpcError) as caught:
            result()
    assert of_rpc_error(caught.value).reason == "WORKER_LOST"


@pytest.mark.variant
def test_an_ephemeral_call_longer_than_a_lease_is_not_lost(
    fleet: FleetMonitor,
) -> None:
    worker = fleet.worker()
    request = EchoRequest(act="insist", seconds=LEASE_S + 4, text="x")
    assert fleet.stub.QuickAgain(request, timeout=TIMEOUT_S).text == "x"
    assert worker.output.count("received") == 1
