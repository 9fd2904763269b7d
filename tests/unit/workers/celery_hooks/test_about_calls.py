"""The labels of log lines about a message."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.metadata import TRACEPARENT
from forebay.v1 import call_pb2
from forebay_backends.broker.task_messages import call_message, calls_message
from forebay_backends.ledger.keys import CallKey
from forebay_backends.telemetry.call_labels import NO_CALL, current_call
from forebay_workers.celery_hooks.request import (
    about_calls,
    attempts_of,
    calls_of,
    traceparents_of,
)

ADDRESS: Any = {"task": "tasks.t", "queue": "jobs", "priority": 0}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def batch_of(*names: str) -> call_pb2.Batch:
    """Ephemeral calls, each with a trace."""
    entry = call_pb2.MetadataEntry(key=TRACEPARENT, value=TRACE.encode())
    metadata = call_pb2.Metadata(entries=[entry])
    members = [call_pb2.BatchMember(call_id=name, metadata=metadata) for name in names]
    return call_pb2.Batch(members=members, method="shop.Orders.Place", owner="acme")


@pytest.mark.parametrize("trace", [TRACE, ""])
def test_a_durable_call_is_named_with_its_attempt_and_its_trace(trace: str) -> None:
    message = call_message(CallKey("a", "acme"), 2, **ADDRESS, traceparent=trace)
    attempts = attempts_of(message.kwargs)
    with about_calls(attempts, traceparents_of(message.kwargs, attempts), None):
        call = current_call()
        assert (call.call_id, call.attempt, call.tenant) == ("a", 2, "acme")
        assert call.traceparent == trace


def test_each_call_of_a_message_has_its_own_trace() -> None:
    keys = [CallKey(name) for name in "abc"]
    message = calls_message("m", keys, **ADDRESS, traceparents=["", TRACE, "other"])
    traceparents = traceparents_of(message.kwargs, attempts_of(message.kwargs))
    assert traceparents == {keys[1]: TRACE, keys[2]: "other"}


def test_an_ephemeral_call_is_named_with_its_trace() -> None:
    batch = batch_of("a")
    with about_calls([(key, 1) for key in calls_of(batch)], {}, batch):
        call = current_call()
        assert (call.call_id, call.attempt, call.method) == ("a", 1, "shop.Orders.Place")
        assert call.traceparent == TRACE


@pytest.mark.parametrize("batch", [None, batch_of("a", "b")])
def test_a_line_about_a_message_of_several_calls_names_none_of_them(
    batch: call_pb2.Batch | None,
) -> None:
    with about_calls([(CallKey("a"), 1), (CallKey("b"), 1)], {}, batch):
        assert current_call() is NO_CALL
