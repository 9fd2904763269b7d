"""Delayed calls: how late their handlers begin while the system is saturated."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import grpc
from google.longrunning.operations_pb2 import GetOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub

from bench import callers
from bench.rounds import Figure, Goal, Series, quantile
from bench.saturated import grpc_load
from bench.stage import Stage
from forebay.compute.v1 import compute_pb2 as pb
from forebay.metadata import CALL_ID, START_AFTER
from forebay.v1.calls_pb2 import CallMetadata

_IN_FLIGHT = 64
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


def _late(operations: OperationsStub, call_id: str) -> float:
    metadata = CallMetadata()
    operation = operations.GetOperation(GetOperationRequest(name=f"operations/{call_id}"))
    assert operation.metadata.Unpack(metadata)
    late_ms = metadata.begin_time.ToMilliseconds() - metadata.start_time.ToMilliseconds()
    assert late_ms >= 0
    return late_ms / 1000
