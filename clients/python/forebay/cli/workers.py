"""`forebay workers`: the live workers, and what they run."""

from __future__ import annotations

import click
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from forebay.cli.call_names import shown_id
from forebay.cli.call_rows import duration
from forebay.cli.gateway import gateway_at
from forebay.cli.options import json_option, target_option
from forebay.cli.tables import Row, show, show_json
from forebay.cli.target import Target
from forebay.v1 import calls_pb2 as pb

COLUMNS = ("worker", "queues", "busy", "slots", "pool", "version", "seen", "runs")


@click.command()
@target_option()
@json_option
def workers(target: Target, as_json: bool) -> None:
    """Show the live workers: their queues and slots, when they were last seen, what they run.

    If the output is not a terminal, rows are tab-separated. Workers of plain tasks do not report,
    and are left out.
    """
    with gateway_at(target) as gateway:
        listed = gateway.workers()
    if as_json:
        show_json(worker_json(one, listed.read_time) for one in listed.workers)
    else:
        show(Console(), COLUMNS, (worker_row(one, listed.read_time) for one in listed.workers))


def worker_row(worker: pb.Worker, now: Timestamp) -> Row:
    return (
        worker.name,
        " ".join(worker.queues),
        str(worker.busy_slots),
        str(worker.slots),
        worker.pool,
        worker.version,
        f"{duration(_age_s(worker.seen_time, now))} ago",
        "; ".join(_runs(one, now) for one in worker.running),
    )


def worker_json(worker: pb.Worker, now: Timestamp) -> dict[str, object]:
    return {
        "worker": worker.name,
        "queues": list(worker.queues),
        "busy_slots": worker.busy_slots,
        "slots": worker.slots,
        "pool": worker.pool,
        "version": worker.version,
        "seen_s": _age_s(worker.seen_time, now),
        "running": [
            {
                "task": one.task,
                "method": one.method or None,
                "run_s": _age_s(one.begin_time, now),
                "calls": [shown_id(name) for name in one.calls],
            }
            for one in worker.running
        ],
    }


def _runs(one: pb.RunningTask, now: Timestamp) -> str:
    what = one.method.rpartition(".")[2] or one.task
    calls = " ".join(shown_id(name) for name in one.calls)
    return f"{what} for {duration(_age_s(one.begin_time, now))} {calls}".strip()


def _age_s(then: Timestamp, now: Timestamp) -> float:
    return (now.ToMilliseconds() - then.ToMilliseconds()) / 1000
