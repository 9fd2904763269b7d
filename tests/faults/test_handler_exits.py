"""Handlers that raise a BaseException, and signals that end their process, on each pool."""

from __future__ import annotations

import signal
import uuid
from contextlib import ExitStack

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.echoes import named
from tests.faults.fleet import FleetMonitor
from tests.faults.losing import TIMEOUT_S, calling, pool_children
from tests.harness import eventually

SOON_MS = 1000
"""From the attempt's begin to its end, by the ledger's clock. Leases are renewed every 5 s only."""
TRIES = 3
"""A starved machine may delay one call, and not several."""
POOLS = ("prefork", "threads", "solo")
EXITS = {
    "exit": "SystemExit: 1",
    "cancelled": "asyncio.exceptions.CancelledError",
    "interrupt": "KeyboardInterrupt",
    "generator exit": "GeneratorExit",
}


def ended(fleet: FleetMonitor, path: str, act: str) -> tuple[str, str]:
    """The code and the reason of a call's error."""
    call, request = getattr(fleet.stub, path), EchoRequest(act=act, count=1)
    streams = path == "ServerStream"
    with pytest.raises(grpc.RpcError) as caught:
        next(call(request, timeout=TIMEOUT_S)) if streams else call(request, timeout=TIMEOUT_S)
    error = of_rpc_error(caught.value)
    return error.code_name, error.reason


def took_ms(fleet: FleetMonitor, act: str) -> int:
    """How long a call took from its begin to its end, by its record."""
    call_id = f"exits-{uuid.uuid4()}"
    with pytest.raises(grpc.RpcError):
        fleet.stub.Unary(EchoRequest(act=act), metadata=named(call_id), timeout=TIMEOUT_S)
    record = fleet.record(call_id)
    return int(record["finished_at"]) - int(record["begun_at"])


@pytest.mark.parametrize("pool", POOLS)
def test_a_handler_that_raises_a_base_exception_fails_its_call_alone(
    fleet: FleetMonitor, pool: str
) -> None:
    worker = fleet.worker(pool)
    assert fleet.stub.Unary(EchoRequest(text="warm"), timeout=TIMEOUT_S).text == "warm"
    for act, logged in EXITS.items():
        for path in ("Unary", "Quick", "ServerStream"):
            seen = worker.output.count(f"\n{logged}")
            assert ended(fleet, path, act) == ("INTERNAL", "HANDLER_FAILED"), (act, path)
            eventually(
                lambda: worker.output.count(f"\n{logged}") > seen,  # noqa: B023 - called here
                f"a traceback of {act}",
            )
        assert min(took_ms(fleet, act) for _ in range(TRIES)) < SOON_MS
    assert fleet.stub.Unary(EchoRequest(text="still here"), timeout=TIMEOUT_S).text == "still here"
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.ended() == 0


def started(fleet: FleetMonitor, stack: ExitStack, seconds: float) -> str:
    """The id of a call whose handler runs and ignores everything."""
    call_id = f"exits-{uuid.uuid4()}"
    request = EchoRequest(text="done", act="insist", seconds=seconds)
    metadata = (("forebay-call-id", call_id),)
    call = fleet.stub.Unary.future(request, metadata=metadata, timeout=TIMEOUT_S)
    stack.callback(call.cancel)
    eventually(lambda: fleet.is_running(call_id), "it runs")
    return call_id


@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_gets_sigterm_lets_its_handler_return(fleet: FleetMonitor, pool: str) -> None:
    worker = fleet.worker(pool)
    with ExitStack() as stack:
        call_id = started(fleet, stack, seconds=1.0)
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.ended() == 0
        assert fleet.record(call_id)["state"] == "SUCCEEDED"


def test_a_pool_child_that_gets_sigterm_loses_its_call(fleet: FleetMonitor) -> None:
    worker = fleet.worker("prefork")
    request = EchoRequest(act="insist", seconds=TIMEOUT_S)
    metadata = (("forebay-call-id", "sigterm-1"),)
    with calling(lambda: fleet.stub.Unary(request, metadata=metadata, timeout=TIMEOUT_S)) as result:
        eventually(lambda: fleet.is_running("sigterm-1"), "it runs")
        pool_children(worker)[0].terminate()
        with pytest.raises(grpc.RpcError) as caught:
            result()
    assert of_rpc_error(caught.value).reason == "WORKER_LOST"
    assert "the handler of" not in worker.output
