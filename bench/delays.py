"""Delayed calls: how late their handlers begin under load, and after a gateway was killed."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.longrunning.operations_pb2 import GetOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub

from bench import callers, systems
from bench.rounds import Figure, Goal, Series, quantile
from bench.saturated import grpc_load
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.metadata import CALL_ID, START_AFTER
from forebay.v1.calls_pb2 import CallMetadata
from tests.harness import eventually

_IN_FLIGHT = 64
_DUE_AFTER_MS = 300
"""When the call of a gateway that is killed is due."""
_FIRST_AFTER_S = 2.0
_REST_S = 2.0
"""How long the load goes on after the last delayed call is due."""


@dataclass(frozen=True)
class Plan:
    """The rounds, the delayed calls of each, and the seconds over which they fall due in turn."""

    rounds: int
    calls: int
    due_within_s: float


FULL = Plan(rounds=5, calls=200, due_within_s=4.0)
QUICK = Plan(rounds=1, calls=20, due_within_s=1.0)


def measure(stage: Stage, plan: Plan) -> Iterator[Figure]:
    """Makes delayed calls of Add while ephemeral ones saturate the system."""
    with callers.channel(stage.address) as channel, ThreadPoolExecutor(1) as executor:
        found = [_late_s(stage, channel, executor, plan) for _ in range(plan.rounds)]
    title = f"From a delayed call's time to its handler's begin, {_IN_FLIGHT} others in flight"
    p50 = Series("p50 of a round", tuple(quantile(times, 0.5) for times in found))
    latest = Series(f"the latest of {plan.calls}", tuple(max(times) for times in found))
    yield Figure("delayed_p50", title, "s", p50, row=36)
    yield Figure("delayed_latest", title, "s", latest, goal=Goal(1.0), row=36)
    killed = Series("a call", tuple(_late_after_kills_s(plan.rounds)))
    title = "From a delayed call's time to its begin, its gateway killed after the accept"
    yield Figure("delayed_killed", title, "s", killed, goal=Goal(1.0), row=36)


def _late_after_kills_s(rounds: int) -> Iterator[float]:
    """How late calls begin that another gateway starts."""
    with (
        systems.backend() as backend,
        systems.celery_worker("forebay_workers", "add", backend.product_env),
        systems.gateway(backend) as (address, _),
        callers.channel(address) as channel,
    ):
        operations = OperationsStub(channel)
        callers.add(ComputeServiceStub(channel), durable=True)
        for _ in range(rounds):
            yield _late_after_a_kill_s(backend, operations)


def _late_after_a_kill_s(backend: systems.Backend, operations: OperationsStub) -> float:
    call_id = str(uuid.uuid4())
    metadata = ((CALL_ID, call_id), (START_AFTER, f"{_DUE_AFTER_MS}ms"))
    with systems.gateway(backend) as (address, pid), callers.channel(address) as channel:
        request = pb.AddRequest(x=4, y=6)
        call = ComputeServiceStub(channel).Add.future(request, metadata=metadata)
        eventually(lambda: _is_known(operations, call_id), "the call is accepted")
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: _has_begun(operations, call_id), "the call begins")
        assert call.code() is grpc.StatusCode.UNAVAILABLE
    return _late(operations, call_id)


def _late_s(
    stage: Stage, channel: grpc.Channel, executor: ThreadPoolExecutor, plan: Plan
) -> tuple[float, ...]:
    """How late each delayed call was, by the ledger's clock."""
    seconds = _FIRST_AFTER_S + plan.due_within_s + _REST_S
    load = executor.submit(grpc_load, stage.address, "ephemeral", _IN_FLIGHT, seconds)
    ids = [str(uuid.uuid4()) for _ in range(plan.calls)]
    begun = time.monotonic()
    calls = []
    for number, call_id in enumerate(ids):
        due_in_s = _FIRST_AFTER_S + plan.due_within_s * number / plan.calls
        after_ms = round((due_in_s - (time.monotonic() - begun)) * 1000)
        metadata = ((CALL_ID, call_id), (START_AFTER, f"{max(0, after_ms)}ms"))
        request = pb.AddRequest(x=4, y=6)
        calls.append(stage.stub.Add.future(request, timeout=callers.TIMEOUT_S, metadata=metadata))
    assert [call.result().sum for call in calls] == [10] * plan.calls
    load.result()
    operations = OperationsStub(channel)
    return tuple(_late(operations, call_id) for call_id in ids)


def _is_known(operations: OperationsStub, call_id: str) -> bool:
    try:
        _metadata(operations, call_id)
    except grpc.RpcError:
        return False
    return True


def _has_begun(operations: OperationsStub, call_id: str) -> bool:
    return _metadata(operations, call_id).HasField("begin_time")


def _metadata(operations: OperationsStub, call_id: str) -> CallMetadata:
    metadata = CallMetadata()
    operation = operations.GetOperation(GetOperationRequest(name=f"operations/{call_id}"))
    assert operation.metadata.Unpack(metadata)
    return metadata


def _late(operations: OperationsStub, call_id: str) -> float:
    metadata = _metadata(operations, call_id)
    late_ms = metadata.begin_time.ToMilliseconds() - metadata.start_time.ToMilliseconds()
    assert late_ms >= 0
    return late_ms / 1000
