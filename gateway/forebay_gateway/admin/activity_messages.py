"""Conversions of activity: from metrics, to and from JSON for processes, to responses. Pure."""

from __future__ import annotations

import json
from array import array
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from operator import add
from typing import Any

from prometheus_client.metrics_core import Metric

from forebay.v1 import calls_pb2 as pb
from forebay_backends.metrics.instruments import DURATION_BUCKETS, OTHER
from forebay_backends.telemetry.server_faults import SERVER_FAULTS
from forebay_gateway.admin.activity import SLOT_S, Calls, QueueState, Slot, quantile_s
from forebay_gateway.admin.fleet_messages import length, stamp

BOUNDS = (*DURATION_BUCKETS, float("inf"))
_BUCKET = {bound: number for number, bound in enumerate(BOUNDS)}


def counted_calls(families: Iterable[Metric], methods: Collection[str]) -> dict[str, Calls]:
    """The calls of each method in the histogram `rpc_server_call_duration_seconds`.

    Methods of the gateway's own services are left out: observers of the gateway call them.
    """
    counted: dict[str, Calls] = {}
    for family in families:
        for sample in family.samples:
            method = sample.labels.get("rpc_method", "").replace("/", ".")
            if method not in methods and method != OTHER:
                continue
            calls = counted.get(method) or Calls.none(len(BOUNDS))
            if sample.name.endswith("_bucket"):
                # Buckets are cumulative; each status has its own set.
                calls.buckets[_BUCKET[float(sample.labels["le"])]] += int(sample.value)
            elif sample.name.endswith("_count"):
                failed = sample.labels["rpc_response_status_code"] in SERVER_FAULTS
                ended = int(sample.value)
                calls = Calls(calls.ended + ended, calls.failed + ended * failed, calls.buckets)
            counted[method] = calls
    return {
        method: Calls(calls.ended, calls.failed, _single(calls.buckets))
        for method, calls in counted.items()
    }


def _single(cumulative: array[int]) -> array[int]:
    before = array("Q", [0, *cumulative[:-1]])
    return array("Q", (now - then for now, then in zip(cumulative, before, strict=True)))


def slots_json(slots: Iterable[Slot]) -> bytes:
    """The calls of the slots, for another process, without queues: all processes see the same."""
    listed = [
        [
            slot.number,
            {
                method: [calls.ended, calls.failed, calls.buckets.tolist()]
                for method, calls in slot.methods.items()
            },
        ]
        for slot in slots
        if slot.methods
    ]
    return json.dumps(listed).encode()


def parse_slots(text: bytes) -> list[Slot]:
    """The reverse of `slots_json`."""
    listed: list[Any] = json.loads(text)
    return [
        Slot(
            number,
            {
                method: Calls(ended, failed, array("Q", buckets))
                for method, (ended, failed, buckets) in methods.items()
            },
        )
        for number, methods in listed
    ]


def interval_message(slot: Slot, step_s: int) -> pb.ActivityInterval:
    """The activity of the last `step_s` seconds until the end of the slot."""
    end_s = (slot.number + 1) * SLOT_S
    none = Calls.none(len(BOUNDS))
    return pb.ActivityInterval(
        start_time=stamp((end_s - step_s) * 1000),
        end_time=stamp(end_s * 1000),
        total=_calls("", reduce(add, slot.methods.values(), none)),
        methods=[_calls(method, calls) for method, calls in sorted(slot.methods.items())],
        queues=[_queue(state) for state in slot.queues],
    )


def queue_states(queues: Sequence[pb.Queue]) -> tuple[QueueState, ...]:
    """The part of the queues' state that activity records."""
    return tuple(
        QueueState(
            queue.name,
            queue.depth,
            queue.oldest_wait.ToMilliseconds() / 1000 if queue.HasField("oldest_wait") else None,
            queue.slots,
            queue.busy_slots,
        )
        for queue in queues
    )


def _calls(method: str, calls: Calls) -> pb.CallActivity:
    return pb.CallActivity(
        method=method,
        ended=calls.ended,
        failed=calls.failed,
        p50=length(quantile_s(calls, BOUNDS, 0.5)),
        p99=length(quantile_s(calls, BOUNDS, 0.99)),
    )


def _queue(state: QueueState) -> pb.QueueActivity:
    return pb.QueueActivity(
        queue=state.queue,
        depth=state.depth,
        oldest_wait=length(state.oldest_wait_s),
        slots=state.slots,
        busy_slots=state.busy_slots,
    )
