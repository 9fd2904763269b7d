"""Calls and queues as rows of tables, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.longrunning import operations_pb2
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.timestamp_pb2 import Timestamp

from forebay.cli.call_names import shown_id
from forebay.cli.message_json import COMPILED, fraction_of
from forebay.errors import ForebayError
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
    """A call's row. `pools` decode its progress.

    With `short`, the method is without its service, and the attempt is empty if it is the first.
    """
    metadata = metadata_of(operation)
    method = metadata.method.rpartition(".")[2] if short else metadata.method
    return (
        id_of(operation),
        method,
        state_of(operation),
        duration(_seconds(metadata.create_time, metadata.read_time)),
        _run_time(metadata),
        "" if short and metadata.attempt == 1 else str(metadata.attempt),
        str(metadata.item_count),
        str(metadata.item_bytes),
        _note(operation, metadata, pools),
    )


def call_json(
    operation: operations_pb2.Operation, pools: Sequence[DescriptorPool] = COMPILED
) -> dict[str, Any]:
    """A call as JSON: times in RFC 3339, durations in seconds, null for what is not there."""
    metadata = metadata_of(operation)
    error = error_of(operation)
    run_s = _run_s(metadata)
    return {
        "id": operation.name.rpartition("/")[2],
        **({"tenant": metadata.tenant} if metadata.tenant else {}),
        "method": metadata.method,
        "state": state_of(operation),
        "queue": metadata.queue,
        "worker": metadata.worker or None,
        "attempt": metadata.attempt,
        "create_time": _time(metadata, "create_time"),
        "start_time": _time(metadata, "start_time"),
        "begin_time": _time(metadata, "begin_time"),
        "finish_time": _time(metadata, "finish_time"),
        "deadline": _time(metadata, "deadline"),
        "age_s": _seconds(metadata.create_time, metadata.read_time),
        "run_s": run_s,
        "items": metadata.item_count,
        "bytes": metadata.item_bytes,
        "progress": _fraction(metadata, pools),
        "status": error.code_name if error else "OK" if operation.done else None,
        "reason": error.reason if error else None,
        "message": error.message if error else None,
    }


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


def queue_json(queue: calls_pb2.Queue) -> dict[str, Any]:
    waits = queue.HasField("oldest_wait")
    return {
        "queue": queue.name,
        "depth": queue.depth,
        "waiting": queue.waiting_calls,
        "oldest_s": queue.oldest_wait.ToMilliseconds() / 1000 if waits else None,
        "consumers": queue.consumers,
        "slots": queue.slots,
        "begun_per_s": queue.begun_per_second,
        "methods": list(queue.methods),
    }


def id_of(operation: operations_pb2.Operation) -> str:
    """The id to show: with its tenant, if that is another than the caller's."""
    return shown_id(operation.name)


def state_of(operation: operations_pb2.Operation) -> str:
    return call_pb2.CallState.Name(metadata_of(operation).state).removeprefix(_PREFIX)


def outcome_line(operation: operations_pb2.Operation) -> str:
    metadata = metadata_of(operation)
    error = error_of(operation)
    if error is not None:
        return f"{state_of(operation)}: {error}"
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
    run_s = _run_s(metadata)
    return "-" if run_s is None else duration(run_s)


def _run_s(metadata: calls_pb2.CallMetadata) -> float | None:
    if not metadata.HasField("begin_time") or metadata.state == call_pb2.CALL_STATE_QUEUED:
        return None
    end = metadata.finish_time if metadata.HasField("finish_time") else metadata.read_time
    return _seconds(metadata.begin_time, end)


def _note(
    operation: operations_pb2.Operation,
    metadata: calls_pb2.CallMetadata,
    pools: Sequence[DescriptorPool],
) -> str:
    """The note: a failed call's error, a delayed one's start, a queued one's queue, a running
    one's progress.
    """
    error = error_of(operation)
    if error is not None:
        return str(error)
    if metadata.state == call_pb2.CALL_STATE_DELAYED:
        return f"starts in {duration(_seconds(metadata.read_time, metadata.start_time))}"
    if metadata.state == call_pb2.CALL_STATE_QUEUED:
        return f"in {metadata.queue}"
    fraction = _fraction(metadata, pools)
    return "" if fraction is None else f"{fraction:.0%}"


def error_of(operation: operations_pb2.Operation) -> ForebayError | None:
    """The error of a call that failed."""
    status = operation.error
    if not operation.HasField("error"):
        return None
    return from_status(status.code, status.message, status)


def _fraction(metadata: calls_pb2.CallMetadata, pools: Sequence[DescriptorPool]) -> float | None:
    return fraction_of(metadata.progress, pools) if metadata.HasField("progress") else None


def _time(metadata: calls_pb2.CallMetadata, field: str) -> str | None:
    if not metadata.HasField(field):  # type: ignore[arg-type]  # the name of a field
        return None
    stamp: Timestamp = getattr(metadata, field)
    return stamp.ToJsonString()


def _seconds(start: Timestamp, end: Timestamp) -> float:
    return (end.ToMilliseconds() - start.ToMilliseconds()) / 1000
