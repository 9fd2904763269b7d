"""A ledger that confirms calls only when replicas have them: a failover loses no accepted call."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.ledger import large_messages
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.attempts import begin
from forebay_backends.ledger.operations.base import Push, Refused
from forebay_backends.ledger.operations.calls import accept, watch
from forebay_backends.ledger.pipelining import Pipeliner
from forebay_backends.ledger.replication import Replicas
from tests.contract.records import new_call, new_key
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Server
from tests.faults.echoes import TIMEOUT_S, begun, error_of, gateway, named, worker
from tests.faults.replicated import replicated
from tests.harness import eventually

ONE_REPLICA = Replicas(1, 2.0)
CHANNEL = "test:gateway"
CALLERS = 8
BUSY_CALLS = 200


@pytest.fixture
def pair() -> Iterator[tuple[Server, Server]]:
    with replicated() as servers:
        yield servers


@pytest.mark.parametrize("large_above_bytes", [large_messages.LARGE_ABOVE_BYTES, 0])
async def test_no_accepted_call_is_lost_when_the_primary_dies_and_its_replica_is_promoted(
    pair: tuple[Server, Server], large_above_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_messages, "LARGE_ABOVE_BYTES", large_above_bytes)
    primary, replica = pair
    ledger = Ledger(primary.url, replicas=ONE_REPLICA)
    pipeliner = Pipeliner(ledger)
    accepted: list[CallKey] = []
    busy = asyncio.Event()

    async def accept_until_the_primary_dies() -> None:
        with contextlib.suppress(BackendUnavailable):
            while True:
                call = new_key()
                await pipeliner.run(accept(call, new_call(), CHANNEL, Push()))
                accepted.append(call)
                if len(accepted) == BUSY_CALLS:
                    busy.set()

    callers = [asyncio.create_task(accept_until_the_primary_dies()) for _ in range(CALLERS)]
    await busy.wait()
    primary.kill()
    await asyncio.gather(*callers)
    await ledger.close()
    replica.do("REPLICAOF NO ONE")
    promoted = Ledger(replica.url)
    found = await promoted.run_all([watch(call, CHANNEL) for call in accepted])
    await promoted.close()
    assert not [one for one in found if isinstance(one, Refused)]


async def test_a_push_and_its_records_wait_for_replicas_too(pair: tuple[Server, Server]) -> None:
    primary, replica = pair
    ledger = Ledger(primary.url, replicas=ONE_REPLICA)
    calls = [new_key(), new_key()]
    operations = [accept(call, new_call(), CHANNEL, Push()) for call in calls]
    assert await ledger.run_with_push(operations, Push("list", b"message")) == [None, None]
    assert replica.client.lrange("list", 0, -1)[0] == b"message"  # type: ignore[index]
    with replica.frozen():
        results = await ledger.run_with_push(operations, Push("list", b"message"))
    assert {type(result) for result in results} == {BackendUnavailable}
    await ledger.close()


def test_a_begin_that_no_replica_confirms_is_unavailable_and_can_be_retried(
    pair: tuple[Server, Server],
) -> None:
    primary, replica = pair
    ledger = BlockingLedger(primary.url, ONE_REPLICA)
    call = new_key()
    ledger.run(accept(call, new_call(), CHANNEL, Push()))
    operation = begin(call, 1, "worker", CHANNEL)
    with replica.frozen(), pytest.raises(BackendUnavailable, match="0 of 1 replicas"):
        ledger.run(operation)
    assert not isinstance(ledger.run(operation), Refused)
    ledger.close()


def test_a_call_that_no_replica_confirms_is_refused_and_runs_once_when_it_is_retried(
    pair: tuple[Server, Server],
) -> None:
    primary, replica = pair
    env = {
        "FOREBAY_LEDGER_URL": primary.url,
        "FOREBAY_LEDGER_MIN_REPLICAS": "1",
        "FOREBAY_LEDGER_REPLICA_TIMEOUT_S": "2",
    }
    call_id = f"call-{uuid.uuid4()}"
    request = EchoRequest(text="hello")
    with gateway(**env) as running, worker(**env) as working:
        eventually(running.serving, "the gateway serves")
        assert running.stub.Unary(request, timeout=TIMEOUT_S, metadata=named("first")).text
        with replica.frozen():
            call = running.stub.Unary.future(request, timeout=TIMEOUT_S, metadata=named(call_id))
            error = error_of(call)
            assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
            assert error.retry_after_s
            working.wait_for("the ledger does not answer; calls of this process wait")
        again = running.stub.Unary(request, timeout=TIMEOUT_S, metadata=named(call_id))
        assert again.text == "hello"
        assert begun(working, call_id) == 1
