"""The three operations, and their cancellation, on every pair of backends."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2

from forebay.compute.arrays import byte_chunks
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.errors import ForebayError
from forebay.rpc_errors import mapped_rpc_errors
from forebay_backends.ledger.keys import CallKey
from tests.harness import Process, environment, forebay_gateway, worker
from tests.matrices import exact

TIMEOUT_S = 30.0
SLOTS = 2
LONG = pb.FactorialRequest(n=3_000_000)


@dataclass(frozen=True)
class System:
    """A gateway and a worker, and a call that was accepted before the worker started."""

    stub: ComputeServiceStub
    worker: Process
    early_call: Any


@pytest.fixture(scope="module")
def system(backend: dict[str, str]) -> Iterator[System]:
    """Starts the worker after the first call, so that the gateway declares the queue."""
    env = environment(**backend)
    with (
        forebay_gateway(env=env) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        early_call = stub.Factorial(pb.FactorialRequest(n=20), timeout=TIMEOUT_S)
        early_call.initial_metadata()  # by then the call is accepted and its message sent
        queues = ("-Q", "add,factorial,mat_mul", "-c", str(SLOTS))
        with worker(*queues, env=env) as process:
            yield System(stub, process, early_call)


@pytest.fixture
def stub(system: System) -> ComputeServiceStub:
    return system.stub


def digits(responses: Iterator[pb.FactorialResponse]) -> str:
    return "".join(response.digits for response in responses)


def call_id(call: grpc.Call) -> str:
    return str(dict(call.initial_metadata())["forebay-call-id"])


def test_a_call_starts_later(stub: ComputeServiceStub) -> None:
    began = time.monotonic()
    metadata = [("forebay-start-after", "700ms")]
    call = stub.Factorial(pb.FactorialRequest(n=21), timeout=TIMEOUT_S, metadata=metadata)
    assert digits(call) == str(math.factorial(21))
    assert time.monotonic() - began >= 0.7
    assert dict(call.trailing_metadata())["forebay-attempts"] == "1"


def product(responses: Iterator[pb.MatMulResponse]) -> np.ndarray:
    parts = [response for response in responses if response.WhichOneof("part") != "progress"]
    whole = b"".join(part.panel.data for part in parts)
    return np.frombuffer(whole, "<f8").reshape(parts[0].header.rows, parts[0].header.cols)


def test_a_worker_that_starts_later_runs_an_earlier_call(system: System) -> None:
    assert digits(system.early_call) == str(math.factorial(20))
    trailing = dict(system.early_call.trailing_metadata())
    assert int(trailing["forebay-queue-ms"]) > 0
    assert trailing["forebay-attempts"] == "1"


def test_an_ephemeral_add_returns_the_sum(stub: ComputeServiceStub) -> None:
    response, call = stub.Add.with_call(pb.AddRequest(x=0.1, y=0.2), timeout=TIMEOUT_S)
    assert response.sum == 0.1 + 0.2
    assert dict(call.trailing_metadata())["forebay-call-id"]


def test_a_durable_sum_is_returned_again_to_a_caller_with_its_id(stub: ComputeServiceStub) -> None:
    attached = []
    for _ in range(2):
        response, call = stub.Add.with_call(
            pb.AddRequest(x=4, y=6), timeout=TIMEOUT_S, metadata=[("forebay-call-id", "sum")]
        )
        assert response.sum == 10.0
        attached.append(dict(call.initial_metadata())["forebay-attached"])
    assert attached == ["new", "finished"]


def test_concurrent_adds_each_get_their_own_sum(stub: ComputeServiceStub) -> None:
    calls = [stub.Add.future(pb.AddRequest(x=n, y=n), timeout=TIMEOUT_S) for n in range(50)]
    assert [call.result().sum for call in calls] == [2.0 * n for n in range(50)]


def test_a_factorial_is_streamed_completely(stub: ComputeServiceStub) -> None:
    request = pb.FactorialRequest(n=100_000, encoding=pb.INTEGER_ENCODING_BINARY)
    binary = b"".join(part.binary for part in stub.Factorial(request, timeout=TIMEOUT_S))
    assert int.from_bytes(binary, "big") == math.factorial(100_000)


def test_a_factorial_can_be_resumed_after_the_items_that_were_read(
    stub: ComputeServiceStub,
) -> None:
    request = pb.FactorialRequest(n=100_000)
    metadata = [("forebay-call-id", "resumed")]
    whole = [
        part
        for part in stub.Factorial(request, timeout=TIMEOUT_S, metadata=metadata)
        if part.WhichOneof("part") != "progress"
    ]
    rest = stub.Factorial(
        request, timeout=TIMEOUT_S, metadata=[*metadata, ("forebay-resume-from", "1")]
    )
    assert list(rest) == whole[1:]


def test_a_random_product_depends_on_its_seed_alone(stub: ComputeServiceStub) -> None:
    request = pb.MatMulRequest(random=pb.RandomOperands(m=20, n=30, seed=7))
    first, again = (product(stub.MatMul(iter([request]), timeout=TIMEOUT_S)) for _ in range(2))
    assert first.shape == (20, 20)
    assert np.array_equal(first, again)


def test_operands_in_chunks_are_multiplied_as_numpy_does(stub: ComputeServiceStub) -> None:
    generator = np.random.default_rng(7)
    left, right = exact(generator, 400, 300), exact(generator, 300, 200)

    def requests() -> Iterator[pb.MatMulRequest]:
        operands = pb.Operands(
            left=pb.Matrix(rows=400, cols=300), right=pb.Matrix(rows=300, cols=200)
        )
        yield pb.MatMulRequest(operands=operands)
        for chunk in byte_chunks(left):
            yield pb.MatMulRequest(left_chunk=chunk)
        for chunk in byte_chunks(right):
            yield pb.MatMulRequest(right_chunk=chunk)

    assert np.array_equal(product(stub.MatMul(requests(), timeout=TIMEOUT_S)), left @ right)


def test_a_cancel_stops_the_handlers_and_frees_the_worker(system: System) -> None:
    calls = [system.stub.Factorial(LONG, timeout=TIMEOUT_S) for _ in range(SLOTS)]
    ids = [call_id(call) for call in calls]
    for call in calls:
        assert next(call).WhichOneof("part") == "progress"  # so the handler is running
    for call in calls:
        call.cancel()
    began = time.monotonic()
    answer = digits(system.stub.Factorial(pb.FactorialRequest(n=20), timeout=TIMEOUT_S))
    assert answer == str(math.factorial(20))
    assert time.monotonic() - began < 2.0
    for name in ids:
        system.worker.wait_for(rf"call {CallKey(name)} [^\n]*CANCELLED")


def test_a_deadline_stops_the_handler(system: System) -> None:
    call = system.stub.Factorial(LONG, timeout=1.0)
    name = call_id(call)
    with pytest.raises(ForebayError) as raised, mapped_rpc_errors():
        list(call)
    assert raised.value.code == code_pb2.DEADLINE_EXCEEDED
    # The gateway sees the disconnect at the same time, so the call may end either way.
    system.worker.wait_for(rf"call {CallKey(name)} [^\n]*(EXPIRED|CANCELLED)")


def test_a_priority_within_the_routes_cap_is_accepted(stub: ComputeServiceStub) -> None:
    call = stub.Factorial(
        pb.FactorialRequest(n=5), timeout=TIMEOUT_S, metadata=[("forebay-priority", "0")]
    )
    assert digits(call) == "120"


@pytest.mark.parametrize("priority", ["1", "9", "10", "-1", "high"])
def test_a_priority_that_is_malformed_or_over_the_routes_cap_is_refused(
    stub: ComputeServiceStub, priority: str
) -> None:
    call = stub.Factorial(
        pb.FactorialRequest(n=5), timeout=TIMEOUT_S, metadata=[("forebay-priority", priority)]
    )
    with pytest.raises(ForebayError) as raised, mapped_rpc_errors():
        list(call)
    assert (raised.value.code_name, raised.value.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [violation.field for violation in raised.value.violations] == ["forebay-priority"]
