"""A call that crashes its process does not fail the other calls of its message."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.metadata import CALL_ID
from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, short_folder

GRACE_S = 1.0
TIMEOUT_S = 60.0
BETWEEN_S = 0.002
"""Calls arrive in this order, also with an API key, which another thread of gRPC adds. In all it is
less than the gateway's `MAX_DELAY_S`, after which they would not share a message."""
ARRIVAL_S = 0.5
"""How long requests may take to arrive at the gateway, which their caller can't observe."""
WARM_UP = 20


class System:
    """A gateway, and a worker with one prefork slot."""

    def __init__(
        self, stub: EchoServiceStub, worker: Process, folder: Path, *, durable: bool
    ) -> None:
        self.durable = durable
        self._stub = stub
        self._worker = worker
        self._folder = folder

    def call(self, request: EchoRequest) -> Any:
        """A call in flight."""
        metadata = ((CALL_ID, str(uuid.uuid4())),) if self.durable else ()
        return self._stub.QuickAgain.future(request, timeout=TIMEOUT_S, metadata=metadata)

    @property
    def received(self) -> int:
        """The number of messages that the worker received."""
        return self._worker.output.count("received")

    def share_a_message(self, *requests: EchoRequest) -> list[Any]:
        """Sends the calls while the slot is busy, so that they share a message."""
        for _ in range(WARM_UP):
            self.call(EchoRequest()).result()
        before = self.received
        gate = self._folder / f"open-{uuid.uuid4()}"
        taken = self.call(EchoRequest(text="first", gate=Gate(path=str(gate))))
        eventually(lambda: self.received > before, "the slot is taken")
        calls = []
        for request in requests:
            calls.append(self.call(request))
            time.sleep(BETWEEN_S)
        time.sleep(ARRIVAL_S)
        gate.touch()
        taken.result()
        eventually(lambda: self.received > before + 1, "their message has come")
        return calls


@pytest.fixture(scope="module", params=["ephemeral", "durable"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    with short_folder() as folder:
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_CANCEL_GRACE_S=str(GRACE_S),
            FOREBAY_LINGER_S="0.1",
        )
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, pool="prefork", slots=1) as worker,
            grpc.insecure_channel(address) as channel,
        ):
            stub, durable = EchoServiceStub(channel), request.param == "durable"
            yield System(stub, worker, folder, durable=durable)


def attempts(call: Any) -> int:
    """The number of its attempts; raises if it failed."""
    call.result()
    return int(dict(call.trailing_metadata())["forebay-attempts"])


def test_a_call_that_kills_its_process_does_not_fail_other_calls(system: System) -> None:
    begun = time.monotonic()
    before, deadly, *others = system.share_a_message(
        EchoRequest(text="before"),
        EchoRequest(text="deadly", act="die"),
        EchoRequest(text="after"),
        EchoRequest(text="after that"),
    )
    # Of a durable call it is known that it had not begun.
    assert [attempts(call) for call in others] == [1, 1] if system.durable else [2, 2]
    assert attempts(before) <= 2
    assert (
        time.monotonic() - begun < LEASE_S
    )  # its worker reports it; nothing waits for a lease to expire
    with pytest.raises(grpc.RpcError) as caught:
        deadly.result()
    assert of_rpc_error(caught.value).reason == "WORKER_LOST"


def test_a_call_whose_handler_exits_does_not_fail_other_calls(system: System) -> None:
    before, exits, after = system.share_a_message(
        EchoRequest(text="before"),
        EchoRequest(text="exits", act="exit"),
        EchoRequest(text="after"),
    )
    assert [attempts(before), attempts(after)] == [1, 1]
    with pytest.raises(grpc.RpcError) as caught:
        exits.result()
    assert of_rpc_error(caught.value).reason == "HANDLER_FAILED"


def test_a_caller_that_disconnects_before_its_turn_is_skipped(system: System) -> None:
    running, disconnecting, other = system.share_a_message(
        EchoRequest(text="running", act="sleep", seconds=2.0),
        EchoRequest(text="disconnecting", act="insist", seconds=TIMEOUT_S),
        EchoRequest(text="other"),
    )
    disconnecting.cancel()
    assert [attempts(running), attempts(other)] == [1, 1]


def test_a_handler_that_ignores_its_stop_does_not_block_the_other_calls(
    system: System,
) -> None:
    ignoring, other = system.share_a_message(
        EchoRequest(text="ignoring", act="insist", seconds=TIMEOUT_S),
        EchoRequest(text="other"),
    )
    begun = time.monotonic()
    ignoring.cancel()
    assert attempts(other) == (1 if system.durable else 2)
    assert time.monotonic() - begun < LEASE_S
