"""The calls that wait for their task, and which of them have been silent for too long. Pure.

A task that raises `Ignore`, whose worker is killed, or whose result is lost never gets a result. So
the gateway asks all workers which tasks they have. A call fails when there was no news of it for
the route's queue wait. An exception is a call whose message a worker holds without reporting it,
such as a task that waits for its rate limit.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import inf

from forebay.errors import ForebayError
from forebay.metadata import TRACEPARENT
from forebay.routes import Method
from forebay_backends.telemetry.call_labels import CallLabels, about_call
from forebay_gateway.admission.admission import Permit
from forebay_gateway.plain.brokers.celery_messages import PlainMessage
from forebay_gateway.plain.task_outcome import Progress, Result

_QUERY_INTERVAL_S = 5.0
_MAX_BUFFERED_PROGRESS = 64
_RUN_TIME_GRACE_S = 5.0


@dataclass(eq=False)
class PlainCall:
    """A call in flight; times are seconds of the monotonic clock.

    `task_ended` is set when the task has ended or will never start: until then, ending the call
    revokes the task. For a broker that can't remove messages from a queue, the task's message
    expires between `may_expire_at` and `may_be_queued_until`. `taken` is set when a worker has
    certainly taken the message. `refusal` is the error with which the call will end at
    `may_be_queued_until`, and a note for the log.
    """

    id: str
    method: Method
    message: PlainMessage
    permit: Permit
    max_silence_s: float
    run_time_s: float
    last_news_at: float
    last_query_at: float = -inf
    unanswered_queries: int = 0
    started_at: float = inf
    sent: bool = False
    task_ended: bool = False
    may_be_queued_until: float = -inf
    may_expire_at: float = inf
    taken: bool = False
    refusal: tuple[ForebayError, str] | None = None
    progress: deque[Progress] = field(default_factory=lambda: deque(maxlen=_MAX_BUFFERED_PROGRESS))
    ending: Result | ForebayError | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    tenant: str = ""

    def is_silent_too_long(self, now: float) -> bool:
        """Whether there was no news for `max_silence_s` and after at least two queries.

        Three queries must have been sent, since the last one may still be answered.
        """
        return (
            self.unanswered_queries > 2
            and self.ending is None
            and now - self.last_news_at > self.max_silence_s
        )

    def end(self, ending: Result | ForebayError) -> None:
        """Ends the call, unless it has ended."""
        if self.ending is None:
            self.ending = ending
            self.changed.set()

    def raise_error(self) -> None:
        """Raises the error that the call has ended with, if it has."""
        if isinstance(self.ending, ForebayError):
            raise self.ending

    async def next_change(self) -> None:
        """Returns when there is progress, or the call has ended."""
        self.changed.clear()
        await self.changed.wait()

    def add_progress(self, progress: Progress) -> None:
        """Buffers a custom state; drops the oldest if the caller reads slowly."""
        if self.ending is None:
            self.progress.append(progress)
            self.changed.set()

    @property
    def _query_interval_s(self) -> float:
        return min(_QUERY_INTERVAL_S, self.max_silence_s / 3)


def labelled(call: PlainCall) -> AbstractContextManager[CallLabels]:
    """Labels the lines that are logged in the block, which runs outside the call's RPC."""
    traceparent = call.message.extra_headers.get(TRACEPARENT, "")
    return about_call(call.id, 1, call.method.name, traceparent, tenant=call.tenant)


class InFlight:
    """The calls in flight, by id; a call and its task have the same id."""

    def __init__(self) -> None:
        self._calls: dict[str, PlainCall] = {}
        self._last_worker_reply_at = -inf

    def __iter__(self) -> Iterator[PlainCall]:
        return iter(tuple(self._calls.values()))

    def add(self, call: PlainCall) -> None:
        self._calls[call.id] = call

    def remove(self, call: PlainCall) -> None:
        self._calls.pop(call.id, None)

    def on_news(self, task_id: str, now: float, *, running: bool = False) -> PlainCall | None:
        """Records news of a task; returns its call, or None if the call is not in flight."""
        call = self._calls.get(task_id)
        if call is not None:
            call.last_news_at, call.unanswered_queries, call.refusal = now, 0, None
            if running:
                call.started_at = min(call.started_at, now)
        return call

    def on_worker_reply(self, now: float) -> None:
        """Records that a worker has answered a query, whichever tasks it has."""
        self._last_worker_reply_at = now

    def start_queries(self, now: float) -> list[PlainCall]:
        """Returns the silent calls that are due for a query, and records the query as sent."""
        due = [
            call
            for call in self._calls.values()
            if call.sent
            and now - max(call.last_news_at, call.last_query_at) >= call._query_interval_s
        ]
        for call in due:
            call.last_query_at = now
            call.unanswered_queries += 1
        return due

    def silent_too_long(self, now: float) -> list[PlainCall]:
        """The calls that fail for their silence, unless there is news of them."""
        return [call for call in self._calls.values() if call.is_silent_too_long(now)]

    def over_run_time(self, now: float, limit_s: Callable[[PlainCall], float]) -> list[PlainCall]:
        """The calls that have run for too long, and that no worker has ended."""
        return [
            call
            for call in self._calls.values()
            if call.ending is None and now - call.started_at > limit_s(call) + _RUN_TIME_GRACE_S
        ]

    def has_worker_replied(self, call: PlainCall) -> bool:
        """Whether a worker has answered a query since the last news of the call."""
        return self._last_worker_reply_at > call.last_news_at
