"""With signing keys, a signed message that an attacker sends again runs nothing.

The genuine message is taken from the broker while there is no worker, so that the test can send it
as often as it likes, at any time.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.longrunning import operations_pb2
from google.longrunning.operations_pb2_grpc import OperationsStub

from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.ledger.blocking_client import BlockingLedger
from tests.contract.test_signed_messages import keys_file
from tests.echo.gates import Gates
from tests.echo.running import (
    COROUTINES_APP,
    ECHO_APP,
    echo_environment,
    echo_gateway,
    echo_worker,
)
from tests.echo.v1.echo_pb2 import EchoRequest, Gate
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually

pytestmark = pytest.mark.variant

CALL_S = 60.0
REFUSED = "a message is refused: the task message has been run before"


@dataclass(frozen=True)
class Captured:
    """A call that waits for its worker, and its message."""

    id: str
    answer: Any
    list: str
    message: bytes


@dataclass(frozen=True)
class System:
    """A gateway with keys; workers come and go."""

    env: dict[str, str]
    pool: tuple[str, str]
    channel: grpc.Channel
    ledger: BlockingLedger

    @contextmanager
    def worker(self) -> Iterator[Process]:
        pool, app = self.pool
        with echo_worker(self.env, pool, app=app) as worker:
            yield worker

    def captured(self, method: str, gates: Gates) -> Captured:
        """Starts a call whose handler waits at its gate."""
        call_id, redis = str(uuid.uuid4()), self.ledger.redis
        gate = Gate(path=str(gates.folder / "gate"))
        answer = getattr(EchoServiceStub(self.channel), method).future(
            EchoRequest(act="pass the gate", text="call", gate=gate),
            timeout=CALL_S,
            metadata=(("forebay-call-id", call_id),) if method == "Unary" else (),
        )
        found: list[tuple[str, bytes]] = []

        def is_sent() -> bool:
            for name in queue_lists("echo"):
                found.extend((name, raw) for raw in redis.lrange(name, 0, -1))
            return bool(found)

        eventually(is_sent, "the message is in the queue", CALL_S)
        ((name, message),) = found
        return Captured(call_id, answer, name, message)

    def replay(self, captured: Captured) -> None:
        self.ledger.redis.lpush(captured.list, captured.message)


@pytest.fixture(scope="module", params=[("threads", ECHO_APP), ("asyncio", COROUTINES_APP)])
def system(
    request: pytest.FixtureRequest, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[System]:
    url = f"{redis_url}10"
    keys = keys_file(tmp_path_factory.mktemp("keys"), "new")
    env = echo_environment(FOREBAY_LEDGER_URL=url, FOREBAY_SIGNING_KEYS=str(keys))
    with ExitStack() as stack:
        _, address = stack.enter_context(echo_gateway(env))
        channel = stack.enter_context(grpc.insecure_channel(address))
        ledger = stack.enter_context(closing(BlockingLedger(url)))
        yield System(env, request.param, channel, ledger)


def test_an_ephemeral_call_that_runs_once_is_not_run_by_another_worker(
    system: System, tmp_path: Path
) -> None:
    gates = Gates(tmp_path)
    call = system.captured("Quick", gates)
    with system.worker() as worker:
        eventually(lambda: gates.begun() == ["call"], "the call runs")
        system.replay(call)
        worker.wait_for(REFUSED)
        gates.open("gate")
        assert call.answer.result().text == "call"
    with system.worker() as another:
        system.replay(call)
        another.wait_for(REFUSED)
    assert gates.begun() == ["call"]


def test_a_durable_call_is_run_once(system: System, tmp_path: Path) -> None:
    """Its message comes again while it runs, after its end, and after its record was deleted."""
    gates = Gates(tmp_path)
    call = system.captured("Unary", gates)
    with system.worker() as worker:
        eventually(lambda: gates.begun() == ["call"], "the call runs")
        system.replay(call)
        worker.wait_for(f"call {call.id} is not begun: this worker has reserved it")
        gates.open("gate")
        assert call.answer.result().text == "call"
    with system.worker() as another:
        system.replay(call)
        another.wait_for(f"call /{call.id} is not begun: SUCCEEDED")
        operations: Any = OperationsStub(system.channel)  # type: ignore[no-untyped-call]
        operations.DeleteOperation(
            operations_pb2.DeleteOperationRequest(name=f"operations/{call.id}"), timeout=CALL_S
        )
        system.replay(call)
        another.wait_for(f"call /{call.id} is not begun: UNKNOWN")
    assert gates.begun() == ["call"]
