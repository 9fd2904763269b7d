"""The labels of log lines about a message."""

from __future__ import annotations

import pytest

from forebay.metadata import TRACEPARENT
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.telemetry.call_labels import NO_CALL, current_call
from forebay_workers.celery_hooks.request import about_calls, calls_of

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def batch_of(*names: str) -> call_pb2.Batch:
    """Ephemeral calls, each with a trace."""
    entry = call_pb2.MetadataEntry(key=TRACEPARENT, value=TRACE.encode())
    metadata = call_pb2.Metadata(entries=[entry])
    members = [call_pb2.BatchMember(call_id=name, metadata=metadata) for name in names]
    return call_pb2.Batch(members=members, method="shop.Orders.Place", owner="acme")


def test_a_durable_call_is_named_with_its_attempt() -> None:
    with about_calls([(CallKey("a", "acme"), 2)], None):
        call = current_call()
        assert (call.call_id, call.attempt, call.tenant) == ("a", 2, "acme")


def test_an_ephemeral_call_is_named_with_its_trace() -> None:
    batch = batch_of("a")
    with about_calls([(key, 1) for key in calls_of(batch)], batch):
        call = current_call()
        assert (call.call_id, call.attempt, call.method) == ("a", 1, "shop.Orders.Place")
        assert call.traceparent == TRACE


@pytest.mark.parametrize("batch", [None, batch_of("a", "b")])
def test_a_line_about_a_message_of_several_calls_names_none_of_them(
    batch: call_pb2.Batch | None,
) -> None:
    with about_calls([(CallKey("a"), 1), (CallKey("b"), 1)], batch):
        assert current_call() is NO_CALL
