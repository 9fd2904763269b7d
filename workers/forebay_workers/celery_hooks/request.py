"""Celery's requests that carry Forebay's calls, in a worker's main process."""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any, TypeVar, cast

from celery.worker import state
from celery.worker.request import Request

from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.presence import RunningTask
from forebay_backends.signing.task_signatures import signed_expiry_ms
from forebay_backends.telemetry.call_labels import CallLabels, about_call, trace_of_member
from forebay_workers.celery_hooks.begun_batches import BegunBatches

Attempt = tuple[CallKey, int]
"""A durable call's key and an attempt number."""

T = TypeVar("T")

begun_batches = BegunBatches()
"""Batches that this worker has begun; kept only if messages are signed."""

failed_attempts: SimpleQueue[Attempt] = SimpleQueue()
"""Attempts whose task ended without an outcome: it raised, or its process died."""

lost_batches: SimpleQueue[tuple[str, str]] = SimpleQueue()
"""Batches whose task raised or whose process died: the id, and the gateway's channel."""


class CallRequest(Request):
    """A message of ours, from its arrival to the end of its task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.received_at = time.monotonic()

    @cached_property
    def durable(self) -> list[Attempt]:
        """Returns the message's durable calls; none for a batch."""
        return attempts_of(self.kwargs)

    @cached_property
    def traceparents(self) -> dict[CallKey, str]:
        """Returns the trace contexts of the message's durable calls that have one."""
        return traceparents_of(self.kwargs, self.durable)

    @cached_property
    def batch(self) -> call_pb2.Batch | None:
        """Returns the message's ephemeral calls; None for durable calls."""
        if "batch" not in self.kwargs:
            return None
        return call_pb2.Batch.FromString(b64decode(self.kwargs["batch"]))

    @property
    def calls(self) -> tuple[CallKey, ...]:
        if self.batch is not None:
            return calls_of(self.batch)
        return tuple(call for call, _ in self.durable)

    @property
    def attempts(self) -> list[Attempt]:
        """Returns the calls with their attempt numbers, which are 1 for ephemeral calls."""
        return self.durable or [(call, 1) for call in self.calls]

    def about(self) -> AbstractContextManager[CallLabels | None]:
        """Labels log lines with the request's call, if it is one."""
        return about_calls(self.attempts, self.traceparents, self.batch)

    @property
    def pool_pid(self) -> int | None:
        """Returns the id of the pool child that runs the request; None if no child does."""
        pid = cast("int | None", self.worker_pid)
        return pid if pid != os.getpid() else None

    @property
    def begun(self) -> bool:
        """Whether a process or thread of the pool has started the request."""
        return self.time_start is not None

    def on_accepted(self, pid: Any, time_accepted: float) -> None:
        """Called by Celery when a process or thread of the pool starts the task."""
        if begun_batches.is_kept and "batch" in self.kwargs:
            begun_batches.add(str(self.id), self._batch_expiry_ms)
        super().on_accepted(pid, time_accepted)

    @property
    def _batch_expiry_ms(self) -> int:
        """From when on none of the batch's calls begins; an unsigned batch is parsed for that."""
        signed_ms = signed_expiry_ms(self.message.headers)
        if signed_ms or self.batch is None:
            return signed_ms
        return expiry_ms(self.batch)

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Called by Celery when the task raised or its process died."""
        self._failed()
        with self.about():
            super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Called by Celery when one of its own time limits has passed."""
        if not soft:
            self._failed()
        with self.about():
            super().on_timeout(soft, timeout)

    def _failed(self) -> None:
        for attempt in self.durable:
            failed_attempts.put(attempt)
        if self.batch is not None:
            lost_batches.put((self.id, self.batch.reply_channel))


def about_calls(
    attempts: Sequence[Attempt], traceparents: Mapping[CallKey, str], batch: call_pb2.Batch | None
) -> AbstractContextManager[CallLabels | None]:
    """Labels log lines with a message's call; not if it has several, which the lines are all about.

    `traceparents` are those of durable calls.
    """
    if len(attempts) != 1:
        return nullcontext()
    call, attempt = attempts[0]
    if batch is None:
        traceparent = traceparents.get(call, "")
        return about_call(call.id, attempt, traceparent=traceparent, tenant=call.owner)
    member = batch.members[0]
    traceparent, _ = trace_of_member(member)
    return about_call(call.id, member.attempt or 1, batch.method, traceparent, call.owner)


def expiry_ms(batch: call_pb2.Batch) -> int:
    """From when on, by the ledger's clock, none of the batch's calls begins."""
    return max((member.begin_by_ms for member in batch.members), default=0)


def calls_of(batch: call_pb2.Batch) -> tuple[CallKey, ...]:
    """Returns the keys of the batch's calls, which all have one owner."""
    return tuple(CallKey(member.call_id, batch.owner) for member in batch.members)


def attempts_of(kwargs: Mapping[str, Any]) -> list[Attempt]:
    """Parses the durable calls of a message; raises ValueError or KeyError for invalid ones."""
    if "calls" in kwargs:
        return [(CallKey.parse(key), 1) for key in kwargs["calls"]]
    if "call" in kwargs:
        return [(CallKey.parse(kwargs["call"]), int(kwargs["attempt"]))]
    return []


def traceparents_of(kwargs: Mapping[str, Any], attempts: Iterable[Attempt]) -> dict[CallKey, str]:
    """The trace contexts of a message's durable calls that have one.

    An older gateway's messages have none.
    """
    given = kwargs.get("traceparents")
    if not given:
        return {}
    found = zip(attempts, given, strict=False)
    return {call: str(traceparent) for (call, _), traceparent in found if traceparent}


def reserved_calls() -> list[CallRequest]:
    """Returns the requests that this worker has taken from the broker, waiting or running."""
    return [one for one in list(state.requests.values()) if isinstance(one, CallRequest)]


def begun_tasks() -> dict[str, int]:
    """Returns the number of tasks that the worker has begun since its start, by name."""
    return dict(state.total_count)


def running_tasks() -> dict[str, int]:
    """Returns the number of Forebay's running tasks, by name."""
    return dict(Counter(str(request.name) for request in reserved_calls() if request.begun))


def longest_running() -> list[RunningTask]:
    """Returns Forebay's running tasks, the longest running first."""
    now_s = time.time()  # the clock of Celery's `time_start`
    running = [
        RunningTask(
            str(request.name),
            max(0, round((now_s - request.time_start) * 1000)),
            tuple(str(call) for call, _ in request.durable),
        )
        for request in reserved_calls()
        if request.time_start is not None
    ]
    return sorted(running, key=lambda one: one.run_ms, reverse=True)


def held_messages() -> dict[str, int]:
    """Returns how many of the reserved messages came from each queue."""
    return dict(Counter(str(one.delivery_info["routing_key"]) for one in reserved_calls()))


def drained(queue: SimpleQueue[T]) -> list[T]:
    """Removes and returns all that is in the queue."""
    taken: list[T] = []
    with suppress(Empty):
        while True:
            taken.append(queue.get_nowait())
    return taken
