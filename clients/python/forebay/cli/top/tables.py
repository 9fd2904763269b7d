"""Formats a snapshot as tables and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.longrunning.operations_pb2 import Operation
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from forebay.cli.call_names import shown_id
from forebay.cli.call_rows import call_json, duration, id_of, metadata_of, queue_json, state_of
from forebay.cli.tables import printable
from forebay.cli.top.snapshot import WINDOW_S, Snapshot
from forebay.v1 import call_pb2
from forebay.v1 import calls_pb2 as pb

NOTHING = "-"


class Cell(NamedTuple):
    """A cell's text and its sort key; rows whose key is None come last."""

    text: str
    key: float | str | None


@dataclass(frozen=True)
class Table:
    """A named table; each row has one cell for each column."""

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    @property
    def texts(self) -> list[tuple[str, ...]]:
        """The rows as texts."""
        return [tuple(cell.text for cell in row) for row in self.rows]

    def ordered(self, column: int, *, descending: bool) -> Table:
        """The table with its rows sorted by a column; the sort is stable."""
        known = [row for row in self.rows if row[column].key is not None]
        unknown = [row for row in self.rows if row[column].key is None]
        known.sort(key=lambda row: row[column].key, reverse=descending)  # type: ignore[arg-type,return-value]
        return Table(self.name, self.columns, [*known, *unknown])

    def filtered(self, text: str) -> Table:
        """The table with only the rows in which a cell contains the text, ignoring case."""
        wanted = text.lower()
        rows = [row for row in self.rows if any(wanted in cell.text.lower() for cell in row)]
        return Table(self.name, self.columns, rows)


QUEUES = ("queue", "depth", "waiting", "oldest", "expected", "busy", "consumers", "begun/s")
WORKERS = ("worker", "busy", "pool", "version", "seen", "queues", "runs")
METHODS = ("method", "calls/s", "failed/s", "p50", "p99")
CALLS = ("id", "method", "state", "age", "run", "attempt", "queue", "worker")
COLUMNS = {"queues": QUEUES, "workers": WORKERS, "methods": METHODS, "calls": CALLS}
"""The columns of each table, in the order in which tables are shown."""


def tables_of(snapshot: Snapshot, *, short: bool) -> list[Table]:
    """The four tables. With `short`, methods are shown without their package."""
    return [
        Table("queues", QUEUES, [_queue(one) for one in snapshot.queues]),
        Table("workers", WORKERS, [_worker(one, snapshot, short) for one in snapshot.workers]),
        Table("methods", METHODS, [_method(one, short) for one in _activities(snapshot)]),
        Table("calls", CALLS, [_call(one, short) for one in snapshot.calls]),
    ]


def json_of(snapshot: Snapshot, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of the named tables as JSON, each with the name of its table."""
    rows: dict[str, list[dict[str, Any]]] = {
        "queues": [_queue_json(one) for one in snapshot.queues],
        "workers": [_worker_json(one, snapshot) for one in snapshot.workers],
        "methods": [_method_json(one) for one in _activities(snapshot)],
        "calls": [call_json(one) for one in snapshot.calls],
    }
    for name in names:
        yield from ({"table": name, **row} for row in rows[name])


def summary_of(snapshot: Snapshot) -> list[tuple[str, str]]:
    """The figures of the whole gateway, as (name, text)."""
    total = snapshot.activity.total
    slots = sum(worker.slots for worker in snapshot.workers)
    busy = sum(worker.busy_slots for worker in snapshot.workers)
    waits = [_seconds(queue, "oldest_wait") or 0.0 for queue in snapshot.queues]
    return [
        ("calls/s", _rate(total.ended / WINDOW_S)),
        ("failed/s", _rate(total.failed / WINDOW_S)),
        ("p50", _latency(_seconds(total, "p50"))),
        ("p99", _latency(_seconds(total, "p99"))),
        ("depth", str(sum(queue.depth for queue in snapshot.queues))),
        ("slots", f"{busy}/{slots}"),
        ("oldest", duration(max(waits, default=0.0))),
        ("workers", str(len(snapshot.workers))),
    ]


def _activities(snapshot: Snapshot) -> list[pb.CallActivity]:
    """The activity of every method of the queues, even without calls, and of any other methods."""
    known = {one.method: one for one in snapshot.activity.methods}
    names = {method for queue in snapshot.queues for method in queue.methods} | known.keys()
    return [known.get(name, pb.CallActivity(method=name)) for name in sorted(names)]


def _queue(queue: pb.Queue) -> tuple[Cell, ...]:
    return (
        Cell(printable(queue.name), queue.name),
        _number(queue.depth),
        _number(queue.waiting_calls),
        _duration(_seconds(queue, "oldest_wait")),
        _duration(_seconds(queue, "expected_wait")),
        Cell(f"{queue.busy_slots}/{queue.slots}", queue.busy_slots),
        _number(queue.consumers),
        Cell(_rate(queue.begun_per_second), queue.begun_per_second),
    )


def _worker(worker: pb.Worker, snapshot: Snapshot, short: bool) -> tuple[Cell, ...]:
    runs: dict[str, int] = {}
    for one in worker.running:
        name = _named(one.method, 1 if short else 0) or one.task
        runs[name] = runs.get(name, 0) + 1
    running = " ".join(name if count == 1 else f"{name}×{count}" for name, count in runs.items())
    return (
        _text(worker.name),
        Cell(f"{worker.busy_slots}/{worker.slots}", worker.busy_slots),
        _text(worker.pool),
        _text(worker.version),
        _duration(snapshot.read_time_s - worker.seen_time.ToMilliseconds() / 1000),
        _text(" ".join(worker.queues)),
        _text(running),
    )


def _method(activity: pb.CallActivity, short: bool) -> tuple[Cell, ...]:
    per_s, failed = activity.ended / WINDOW_S, activity.failed / WINDOW_S
    p50, p99 = _seconds(activity, "p50"), _seconds(activity, "p99")
    return (
        _text(_named(activity.method, 2 if short else 0)),
        Cell(_rate(per_s), per_s),
        Cell(_rate(failed), failed),
        Cell(_latency(p50), p50),
        Cell(_latency(p99), p99),
    )


def _call(operation: Operation, short: bool) -> tuple[Cell, ...]:
    metadata = metadata_of(operation)
    now_s = metadata.read_time.ToMilliseconds() / 1000
    has_begun = metadata.HasField("begin_time") and metadata.state == call_pb2.CALL_STATE_RUNNING
    run_s = now_s - metadata.begin_time.ToMilliseconds() / 1000 if has_begun else None
    return (
        _text(id_of(operation)),
        _text(_named(metadata.method, 1 if short else 0)),
        _text(state_of(operation)),
        _duration(now_s - metadata.create_time.ToMilliseconds() / 1000),
        _duration(run_s),
        _number(metadata.attempt),
        _text(metadata.queue),
        _text(metadata.worker.rpartition(".")[0]),
    )


def _queue_json(queue: pb.Queue) -> dict[str, Any]:
    return {
        **queue_json(queue),
        "expected_s": _seconds(queue, "expected_wait"),
        "busy_slots": queue.busy_slots,
    }


def _worker_json(worker: pb.Worker, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "worker": worker.name,
        "queues": list(worker.queues),
        "slots": worker.slots,
        "busy_slots": worker.busy_slots,
        "pool": worker.pool,
        "version": worker.version,
        "seen_s": round(snapshot.read_time_s - worker.seen_time.ToMilliseconds() / 1000, 3),
        "running": [
            {
                "task": one.task,
                "method": one.method or None,
                "run_s": round(snapshot.read_time_s - one.begin_time.ToMilliseconds() / 1000, 3),
                "calls": [shown_id(name) for name in one.calls],
            }
            for one in worker.running
        ],
    }


def _method_json(activity: pb.CallActivity) -> dict[str, Any]:
    return {
        "method": activity.method,
        "calls_per_s": activity.ended / WINDOW_S,
        "failed_per_s": activity.failed / WINDOW_S,
        "p50_s": _seconds(activity, "p50"),
        "p99_s": _seconds(activity, "p99"),
    }


def _named(method: str, parts: int) -> str:
    """The last parts of a method's name, such as `ComputeService.Add`; 0: the whole name."""
    return ".".join(method.split(".")[-parts:])


def _rate(per_s: float) -> str:
    return f"{per_s:.1f}" if per_s < 100 else f"{per_s:.0f}"


def _text(text: str) -> Cell:
    return Cell(printable(text) or NOTHING, text or None)


def _number(number: int) -> Cell:
    return Cell(str(number), number)


def _duration(seconds: float | None) -> Cell:
    return Cell(NOTHING if seconds is None else duration(seconds), seconds)


def _latency(seconds: float | None) -> str:
    if seconds is None:
        return NOTHING
    if seconds >= 1:
        return duration(seconds)
    return f"{seconds * 1000:.1f}ms" if seconds < 0.01 else f"{seconds * 1000:.0f}ms"


def _seconds(message: Message, field: str) -> float | None:
    """The value of a Duration field in seconds; None if it is unset."""
    if not message.HasField(field):
        return None
    value: Duration = getattr(message, field)
    return value.ToMicroseconds() / 1e6
