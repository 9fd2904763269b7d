"""Calls and queues as rows of tables. Pure."""

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
    """A call's row; with `short`, the method without its service. `pools` decode its progress."""
    metadata = metadata_of(operation)
    method = metadata.method.rpartition(".")[2] if short else metadata.method
    return (
        operation.name.rpartition("/")[2],
        method,
        state_of(operation),
        duration(_seconds(metadata.create_time, metadata.read_time)),
        _run_time(metadata),
        str(metadata.attempt),
        str(metadata.item_count),
        str(metadata.item_bytes),
        _note(metadata, pools),
    )


def queue_row(queue: calls_pb2.Queue) -> tuple[str, ...]:
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
    return call_pb2.CallState.Name(metadata_of(operation).state).removeprefix(_PREFIX)


def outcome_line(operation: operations_pb2.Operation) -> str:
    metadata = metadata_of(operation)
    if operation.HasField("error"):
        status = operation.error
        return f"{state_of(operation)}: {from_status(status.code, status.message, status)}"
    items = f"{metadata.item_count} item{'' if metadata.item_count == 1 else 's'}"
    taken = duration(_seconds(metadata.create_time, metadata.finish_time))
    return f"{state_of(operation)} after {taken}, {items}"


def metadata_of(operation: operations_pb2.Operation) -> calls_pb2.CallMetadata:
    """The call's metadata; empty if the server that answered is not a gateway."""
    metadata = calls_pb2.CallMetadata()
    operation.metadata.Unpack(metadata)
    return metadata


def duration(seconds: float) -> str:
    """The duration in at most two units, such as 1h5m."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f}s"
    whole = int(seconds)
    for size, unit, below in ((86400, "d", "h"), (3600, "h", "m"), (60, "m", "s")):
        if whole >= size:
            lesser = {"h": 3600, "m": 60, "s": 1}[below]
            return f"{whole // size}{unit}{whole % size // lesser}{below}"
    return f"{whole}s"


def _run_time(metadata: calls_pb2.CallMetadata) -> str:
    if not metadata.HasField("begin_time") or metadata.state == call_pb2.CALL_STATE_QUEUED:
        return "-"
    end = metadata.finish_time if metadata.HasField("finish_time") else metadata.read_time
    return duration(_seconds(metadata.begin_time, end))


def _note(metadata: calls_pb2.CallMetadata, pools: Sequence[DescriptorPool]) -> str:
    """The reason of a failed call, the queue of a queued one, the progress of a running one."""
    if metadata.reason:
        return metadata.reason
    if metadata.state == call_pb2.CALL_STATE_QUEUED:
        return f"in {metadata.queue}"
    fraction = fraction_of(metadata.progress, pools) if metadata.HasField("progress") else None
    return "" if fraction is None else f"{fraction:.0%}"


def _seconds(start: Timestamp, end: Timestamp) -> float:
    return (end.ToMilliseconds() - start.ToMilliseconds()) / 1000
