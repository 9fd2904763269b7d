"""A gateway without workers, on every pair of backends."""

from __future__ import annotations

import json
import time
import uuid
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.errors import ForebayError
from forebay.rpc_errors import of_rpc_error
from forebay.v1 import call_pb2
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.urls import Backends
from tests.contract.lossy import LossyLink, lossy_link
from tests.contract.systems import Waiting, backends_of, gateway_stub, take_messages

TIMEOUT_S = 20.0
QUEUE_WAIT_S = 0.5
SUM = pb.AddRequest(x=1, y=2)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@pytest.fixture(scope="module")
def link(deserted: dict[str, str]) -> Iterator[LossyLink]:
    with lossy_link(backends_of(deserted).ledger_url) as link:
        yield link


@pytest.fixture(scope="module")
def stub(deserted: dict[str, str], link: LossyLink) -> Iterator[ComputeServiceStub]:
    """A gateway with a short queue wait, whose ledger is behind the link."""
    with gateway_stub(
        deserted | {"FOREBAY_LEDGER_URL": link.url}, FOREBAY_QUEUE_WAIT_S=str(QUEUE_WAIT_S)
    ) as stub:
        yield stub


@pytest.fixture(scope="module")
def servers(deserted: dict[str, str]) -> Backends:
    return backends_of(deserted)


def traced(call_id: str) -> list[tuple[str, str]]:
    """The metadata of a call with that id, which has a trace."""
    return [("forebay-call-id", call_id), ("traceparent", TRACE)]


def factorial(stub: ComputeServiceStub, call_id: str) -> Any:
    request = pb.FactorialRequest(n=5)
    return stub.Factorial(request, timeout=TIMEOUT_S, metadata=traced(call_id))


def mat_mul(stub: ComputeServiceStub, call_id: str) -> Any:
    request = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2))
    return stub.MatMul(iter([request]), timeout=TIMEOUT_S, metadata=traced(call_id))


def durable_add(stub: ComputeServiceStub, call_id: str) -> Any:
    return stub.Add.future(SUM, timeout=TIMEOUT_S, metadata=traced(call_id))


def ephemeral_add(stub: ComputeServiceStub, call_id: str) -> Any:
    return stub.Add.future(SUM, timeout=TIMEOUT_S)


Call = Callable[[ComputeServiceStub, str], Any]
DURABLE: dict[Call, str] = {factorial: "factorial", mat_mul: "mat_mul", durable_add: "add"}
CALLS: list[Call] = [*DURABLE, ephemeral_add]


@dataclass(frozen=True)
class Unserved:
    """The result of a call without a worker: its error and its task message."""

    call_id: str
    error: ForebayError
    after_s: float
    message: Waiting


@pytest.fixture(scope="module")
def unserved(stub: ComputeServiceStub, servers: Backends) -> dict[Call, Unserved]:
    """All kinds of calls, made at once."""
    for queue in set(DURABLE.values()):  # tests come in any order: one may have left messages
        take_messages(servers, queue)
    began = time.monotonic()
    ids = {call: f"unserved-{uuid.uuid4()}" for call in CALLS}
    made = {call: call(stub, ids[call]) for call in CALLS}
    errors = {call: made[call].exception(TIMEOUT_S) for call in CALLS}
    after_s = time.monotonic() - began
    messages = {
        message.headers["id"]: message
        for queue in set(DURABLE.values())
        for message in take_messages(servers, queue)
    }
    assert len(messages) == len(CALLS)
    (ids[ephemeral_add],) = messages.keys() - ids.values()
    return {
        call: Unserved(ids[call], of_rpc_error(errors[call]), after_s, messages[ids[call]])
        for call in CALLS
    }


each_call = pytest.mark.parametrize("call", CALLS, ids=lambda call: str(call.__name__))


@each_call
def test_without_live_workers_a_call_fails_with_no_workers(
    unserved: dict[Call, Unserved], call: Call
) -> None:
    error = unserved[call].error
    assert (error.code_name, error.reason) == ("UNAVAILABLE", "NO_WORKERS")
    assert QUEUE_WAIT_S <= unserved[call].after_s < TIMEOUT_S


@each_call
def test_a_task_message_is_json_and_holds_names_only(
    unserved: dict[Call, Unserved], call: Call
) -> None:
    message = unserved[call].message
    assert message.content_type == "application/json"
    assert message.headers["lang"] == "py"
    arguments, named, embed = json.loads(message.body)
    assert (arguments, embed) == ([], EMBED)
    if call is ephemeral_add:
        assert named.keys() == {"batch"}
        (member,) = call_pb2.Batch.FromString(b64decode(named["batch"])).members
        assert pb.AddRequest.FromString(member.request) == SUM
        assert member.call_id == unserved[call].call_id
    else:
        key = f"/{unserved[call].call_id}"
        assert named == {"call": key, "attempt": 1, "traceparents": [TRACE]}


def test_a_failed_ephemeral_call_is_not_run_by_a_later_worker(
    unserved: dict[Call, Unserved], servers: Backends
) -> None:
    (_, named, _) = json.loads(unserved[ephemeral_add].message.body)
    (member,) = call_pb2.Batch.FromString(b64decode(named["batch"])).members
    with closing(BlockingLedger(servers.ledger_url)) as ledger:
        seconds, _ = ledger.redis.time()
    assert member.begin_by_ms / 1000 <= seconds + 1, "its caller was told to call again"


def test_an_ephemeral_call_that_failed_is_named_in_trailing_metadata(
    stub: ComputeServiceStub,
) -> None:
    made = ephemeral_add(stub, "")
    assert made.exception(TIMEOUT_S) is not None
    assert "forebay-call-id" in dict(made.trailing_metadata())


@pytest.mark.parametrize(
    ("call", "operation"),
    [(factorial, "calls/accept"), (mat_mul, "requests/complete")],
    ids=["accept", "complete"],
)
def test_a_message_is_sent_though_the_ledgers_answer_was_lost(
    unserved: dict[Call, Unserved],
    stub: ComputeServiceStub,
    servers: Backends,
    link: LossyLink,
    call: Call,
    operation: str,
) -> None:
    link.lose_answer_to(operation)
    call_id = f"lost-{uuid.uuid4()}"
    made = call(stub, call_id)
    assert dict(made.initial_metadata())["forebay-call-id"] == call_id
    assert link.lost.is_set()
    sent = [message.headers["id"] for message in take_messages(servers, DURABLE[call])]
    made.cancel()
    assert sent == [call_id]
