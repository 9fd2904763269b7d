"""Queries workers for silent calls, ends those without news, and checks the backends' health."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

from forebay.errors import (
    BackendUnavailable,
    ForebayError,
    NoWorkers,
    QueueWait,
    TaskTimeLimit,
    TaskUnanswered,
)
from forebay_backends.aio.periodic import run_periodically
from forebay_gateway.fleet.health_check import HealthCheck
from forebay_gateway.plain.brokers.base import PlainBroker
from forebay_gateway.plain.brokers.celery_messages import Reply, query
from forebay_gateway.plain.brokers.redis_results import RedisResults
from forebay_gateway.plain.in_flight import InFlight, PlainCall
from forebay_gateway.plain.mapping.result_meta import SLACK, read_limited
from forebay_gateway.plain.task_outcome import aborted_if_effects

CALL_CHECK_INTERVAL_S = 1.0
_TICKET = "forebay"
_MAX_TASKS_PER_QUERY = 1000
_FIRST_SUBSCRIPTION_S = 5.0

_log = logging.getLogger(__name__)


class Watchdog:
    """Watches the calls in flight, with `run`, and the backends, with `health.run`."""

    def __init__(
        self,
        in_flight: InFlight,
        broker: PlainBroker,
        results: RedisResults | None,
        reply_queue: str,
    ) -> None:
        self._in_flight = in_flight
        self._broker = broker
        self._results = results
        self._reply_queue = reply_queue
        self._sources: dict[str, PlainBroker | RedisResults] = {"broker": broker}
        if results is not None:
            self._sources["result backend"] = results
        self.health = HealthCheck(
            {name: partial(_probe, source) for name, source in self._sources.items()}
        )

    async def run(self) -> None:
        """Checks the calls until cancelled."""
        await run_periodically(CALL_CHECK_INTERVAL_S, self._check, _log, "checking plain tasks")

    def on_worker_reply(self, reply: Reply, max_message_bytes: int) -> None:
        """Takes a worker's answer to a query: the tasks that it has."""
        now = time.monotonic()
        self._in_flight.on_worker_reply(now)
        try:
            answer = read_limited(reply.body, max_message_bytes * SLACK)
        except ForebayError as error:
            _log.warning("a worker's list of its tasks can't be read: %s", error.message)
            return
        for tasks in answer.values() if isinstance(answer, dict) else ():
            for task_id, state in tasks.items() if isinstance(tasks, dict) else ():
                running = isinstance(state, list) and state[:1] == ["active"]
                self._in_flight.on_news(task_id, now, running=running)

    async def subscribed(self) -> None:
        """Returns when replies and results are being read, or after 5 s without."""
        try:
            async with asyncio.timeout(_FIRST_SUBSCRIPTION_S):
                for source in self._sources.values():
                    await _listening(source)
        except TimeoutError:
            _log.warning("the broker or the result backend does not answer; retrying")

    async def _check(self) -> None:
        silent = self._in_flight.start_queries(time.monotonic())
        if self._results is not None:
            await self._results.read(silent)
        for call in self._in_flight.over_run_time(time.monotonic()):
            call.end(TaskTimeLimit("the task runs for longer than its route's run time"))
        for call in self._in_flight.silent_too_long(time.monotonic()):
            await self._fail(call)
        for first in range(0, len(silent), _MAX_TASKS_PER_QUERY):
            task_ids = silent[first : first + _MAX_TASKS_PER_QUERY]
            await self._broker.broadcast(query(task_ids, self._reply_queue, _TICKET))

    async def _fail(self, call: PlainCall) -> None:
        """Ends the call, which revokes its task."""
        error, note = await self._diagnosis(call)
        if call.ending is not None:
            return  # news came during the diagnosis
        _log.warning(
            "call %s of %s: no news of the task %s for %g s: %s",
            *(call.id, call.method.name, call.method.route.task, call.max_silence_s, note),
        )
        call.end(error)

    async def _diagnosis(self, call: PlainCall) -> tuple[ForebayError, str]:
        """The error for the caller, and a note for the log on what can be done."""
        queue = call.method.route.queue
        try:
            depth = await self._broker.depth(queue)
        except BackendUnavailable as error:
            if not call.method.may_run_again:
                error.retry_after_s = None
            return error, "the broker is away"
        if not self._in_flight.has_worker_replied(call):
            return (
                NoWorkers("no live worker reports that it has the task"),
                f"no worker answers; start one for the queue {queue!r}, with its remote control "
                "on (a solo pool can't answer while it works: give the route a longer queue_wait)",
            )
        if depth:
            return (
                QueueWait("no worker began the call within the method's queue wait"),
                f"{depth} messages wait in the queue {queue!r}; more workers would help",
            )
        return (
            aborted_if_effects(
                TaskUnanswered("no worker has the task any more, and no result of it came"),
                call.method,
            ),
            "no worker has it and no result came. Did it raise Ignore, or replace itself by tasks "
            "that take longer (raise the route's queue_wait)? Did its worker die? Is the "
            "application's result_backend the one in FOREBAY_RESULT_URL?",
        )


async def _probe(source: PlainBroker | RedisResults) -> None:
    """Returns when the backend answers and its messages are being read."""
    await source.ping()
    await _listening(source)


async def _listening(source: PlainBroker | RedisResults) -> None:
    while not source.is_listening:  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0.01)
