"""What this worker holds: Celery's requests, in its main process, that are calls of ours."""

from __future__ import annotations

import os
import time
from base64 import b64decode
from collections.abc import Mapping
from functools import cached_property
from queue import SimpleQueue
from typing import Any, cast

from celery.worker import state
from celery.worker.request import Request

from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey

Attempt = tuple[CallKey, int]
"""A durable call, and the number of the attempt."""

failed: SimpleQueue[Attempt] = SimpleQueue()
"""Attempts whose task ended without a word to the ledger: its process died, or gave up."""

lost_batches: SimpleQueue[tuple[str, str]] = SimpleQueue()
"""Batches whose task ended in that way: id, and the channel of their gateway."""


class CallRequest(Request):
    """Celery's view of a message of ours, from its arrival to the end of its task."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.since = time.monotonic()

    @cached_property
    def durable(self) -> list[Attempt]:
        """The durable calls'; none for a batch."""
        return attempts_of(self.kwargs)

    @cached_property
    def batch(self) -> call_pb2.Batch | None:
        """The ephemeral calls; None for durable ones."""
        if "batch" not in self.kwargs:
            return None
        return call_pb2.Batch.FromString(b64decode(self.kwargs["batch"]))

    @property
    def call_ids(self) -> tuple[str, ...]:
        """The ids of its calls."""
        if self.batch is not None:
            return tuple(member.call_id for member in self.batch.members)
        return tuple(call.id for call, _ in self.durable)

    @property
    def attempts(self) -> list[Attempt]:
        """Its calls, by their attempts; an ephemeral one's is always named 1."""
        return self.durable or [(CallKey(call_id), 1) for call_id in self.call_ids]

    @property
    def child(self) -> int | None:
        """The pool child that runs it; None before that, and where this process does."""
        pid = cast("int | None", self.worker_pid)
        return pid if pid != os.getpid() else None

    @property
    def begun(self) -> bool:
        """Whether the pool has taken it."""
        return self.time_start is not None

    def on_failure(
        self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False
    ) -> None:
        """Celery's word that the task raised, or that its process died."""
        self._failed()
        super().on_failure(exc_info, send_failed_event, return_ok)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """Celery's word that its own time limit passed."""
        if not soft:
            self._failed()
        super().on_timeout(soft, timeout)

    def _failed(self) -> None:
        for attempt in self.durable:
            failed.put(attempt)
        if self.batch is not None:
            lost_batches.put((self.id, self.batch.reply_channel))


def attempts_of(kwargs: Mapping[str, Any]) -> list[Attempt]:
    """The durable calls that a message names; ValueError or KeyError where it names none well."""
    if "calls" in kwargs:
        return [(CallKey.parse(key), 1) for key in kwargs["calls"]]
    if "call" in kwargs:
        return [(CallKey.parse(kwargs["call"]), int(kwargs["attempt"]))]
    return []


def held() -> list[CallRequest]:
    """All that this worker holds, waiting or running."""
    return [one for one in list(state.requests.values()) if isinstance(one, CallRequest)]


def begun_tasks() -> dict[str, int]:
    """How many tasks the worker has begun since its start, by name."""
    return dict(state.total_count)
