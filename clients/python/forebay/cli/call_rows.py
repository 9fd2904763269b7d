"""Calls and queues in words, as the command line shows them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.timestamp_pb2 import Timestamp

from forebay.cli.message_json import COMPILED, fraction_of
from forebay.errors.status import from_status
from forebay.v1 import call_pb2, calls_pb2

CALLS = ("id", "method", "state", "age", "run", "attempt", "items", "bytes", "note")
QUEUES = ("queue", "depth", "waiting", "oldest", "consumers", "slots", "begun/s", "methods")

_PREFIX = "CALL_STATE_"


def call_row(
    operation: operations_pb2.Operation,
    *,
    short: bool,
    pools: Sequence[DescriptorPool] = COMPILED,
) -> tuple[str, ...]:
    """A call's row; with `short` the method without its service. Progress is read by `pools`."""
    told = metadata_of(operation)
    method = told.method.rpartition(".")[2] if short else told.method
    return (
        operation.name.rpartition("/")[2],
        method,
        state_of(operation),
        duration(_seconds(told.create_time, told.read_time)),
        _run_time(told),
        str(told.attempt),
        str(told.item_count),
        str(told.item_bytes),
        _note(told, pools),
    )


def queue_row(queue: calls_pb2.Queue) -> tuple[str, ...]:
    """A queue's row."""
    waits = queue.HasField("oldest_wait")
    return (
        queue.name,
        str(queue.depth),
        str(queue.waiting_calls),
        duration(queue.oldest_wait.ToMilliseconds() / 1000) if waits else "-",
        str(queue.consumers),
        str(queue.slots),
        f"{queue.begun_per_second:.1f}",
        " ".join(queue.methods),
    )


def state_of(operation: operations_pb2.Operation) -> str:
    """The state, such as RUNNING."""
    return call_pb2.CallState.Name(metadata_of(operation).state).removeprefix(_PREFIX)


def how_it_ended(operation: operations_pb2.Operation) -> str:
    """How a call ended, in one line."""
    told = metadata_of(operation)
    if operation.HasField("error"):
        status = operation.error
        return f"{state_of(operation)}: {from_status(status.code, status.message, status)}"
    items = f"{told.item_count} item{'' if told.item_count == 1 else 's'}"
    taken = duration(_seconds(told.create_time, told.finish_time))
    return f"{state_of(operation)} after {taken}, {items}"


def metadata_of(operation: operations_pb2.Operation) -> calls_pb2.CallMetadata:
    """What the gateway says of the call; empty where it is no gateway that answered."""
    told = calls_pb2.CallMetadata()
    operation.metadata.Unpack(told)
    return told


def duration(seconds: float) -> str:
    """So long, in two units at most."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = int(seconds)
    for size, unit, below in ((86400, "d", "h"), (3600, "h", "m"), (60, "m", "s")):
        if whole >= size:
            lesser = {"h": 3600, "m": 60, "s": 1}[below]
            return f"{whole // size}{unit}{whole % size // lesser}{below}"
    return f"{whole}s"


def _run_time(told: calls_pb2.CallMetadata) -> str:
    if not told.HasField("begin_time") or told.state == call_pb2.CALL_STATE_QUEUED:
        return "-"
    end = told.finish_time if told.HasField("finish_time") else told.read_time
    return duration(_seconds(told.begin_time, end))


def _note(told: calls_pb2.CallMetadata, pools: Sequence[DescriptorPool]) -> str:
    """Why it ended, or how far it is, or where it waits."""
    if told.reason:
        return told.reason
    if told.state == call_pb2.CALL_STATE_QUEUED:
        return f"in {told.queue}"
    fraction = fraction_of(told.progress, pools) if told.HasField("progress") else None
    return "" if fraction is None else f"{fraction:.0%}"


def _seconds(start: Timestamp, end: Timestamp) -> float:
    return (end.ToMilliseconds() - start.ToMilliseconds()) / 1000
