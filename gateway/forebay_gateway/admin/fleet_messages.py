"""Builds the protobuf messages that describe queues and workers. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from forebay.routes import Method
from forebay.v1 import calls_pb2 as pb
from forebay_backends.ledger.operations.inspection import Backlog
from forebay_backends.ledger.presence import RunningTask, WorkerPresence
from forebay_gateway.fleet.worker_problems import node_of


def queue_message(
    name: str, methods: Sequence[Method], workers: Sequence[WorkerPresence], backlog: Backlog
) -> pb.Queue:
    """A queue with its methods, its live workers and its backlog."""
    consumers = [worker for worker in workers if name in worker.queues]
    queue = pb.Queue(
        name=name,
        methods=[method.name for method in methods],
        waiting_calls=backlog.calls,
        consumers=len(consumers),
        slots=sum(worker.slots for worker in consumers),
        busy_slots=busy_slots(methods, consumers),
    )
    if backlog.calls:
        queue.oldest_wait.FromMilliseconds(backlog.oldest_ms)
    return queue


def busy_slots(methods: Sequence[Method], consumers: Sequence[WorkerPresence]) -> int:
    """How many slots run a task of the queue's methods."""
    tasks = {method.route.task for method in methods}
    return sum(worker.running.get(task, 0) for worker in consumers for task in tasks)


NamesOf = Callable[[Sequence[str]], list[str]]
"""Gets keys of calls; returns the operation names of those that the caller may see."""


def worker_message(
    worker: WorkerPresence, method_of_task: Mapping[str, str], names_of: NamesOf
) -> pb.Worker:
    """A worker; `method_of_task` has the methods of tasks for which the worker reports none."""
    return pb.Worker(
        name=node_of(worker),
        queues=worker.queues,
        slots=worker.slots,
        busy_slots=sum(worker.running.values()),
        pool=worker.pool,
        version=worker.version,
        seen_time=stamp(worker.seen_ms),
        running=[_running(worker, one, method_of_task, names_of) for one in worker.longest_running],
    )


def stamp(time_ms: float) -> Timestamp:
    """Converts milliseconds since 1970."""
    message = Timestamp()
    message.FromMilliseconds(round(time_ms))
    return message


def length(seconds: float | None) -> Duration | None:
    """Converts seconds; None stays None, which leaves a field unset."""
    if seconds is None:
        return None
    message = Duration()
    message.FromMicroseconds(round(seconds * 1e6))
    return message


def _running(
    worker: WorkerPresence,
    one: RunningTask,
    method_of_task: Mapping[str, str],
    names_of: NamesOf,
) -> pb.RunningTask:
    method, _ = worker.serves.get(one.task, (method_of_task.get(one.task, ""), ""))
    return pb.RunningTask(
        task=one.task,
        method=method,
        begin_time=stamp(worker.seen_ms - one.run_ms),
        calls=names_of(one.calls),
    )
