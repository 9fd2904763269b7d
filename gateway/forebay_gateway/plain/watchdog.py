"""Asks workers about silent calls, fails the calls that no worker has, and checks the backends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
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
from forebay_backends.ledger.pubsub import FIRST_SUBSCRIPTION_S
from forebay_backends.settings import CeleryApplication
from forebay_gateway.fleet.health_check import HealthCheck
from forebay_gateway.plain.brokers.base import PlainBroker, PlainResults, Withdrawal, listening
from forebay_gateway.plain.brokers.celery_messages import Reply, listings, query
from forebay_gateway.plain.brokers.worker_replies import tasks_of
from forebay_gateway.plain.in_flight import InFlight, PlainCall, labelled
from forebay_gateway.plain.inspection import PlainWorkers
from forebay_gateway.plain.mapping.result_meta import SLACK, read_limited
from forebay_gateway.plain.task_outcome import aborted_if_effects
from forebay_gateway.rpc.policy import CALL_CHECK_INTERVAL_S

_TICKET = "forebay"
_MAX_TASKS_PER_QUERY = 1000

_log = logging.getLogger(__name__)


class Watchdog:
    """Watches the calls in flight, with `run`, and the backends, with `health.run`."""

    def __init__(
        self,
        in_flight: InFlight,
        broker: PlainBroker,
        results: PlainResults | None,
        workers: PlainWorkers,
        reply_queue: str,
        application: CeleryApplication,
    ) -> None:
        self._application = application
        self._about_key_prefix = (
            "Is the application's global_keyprefix, if it has one, in "
            f"{application.setting('key_prefix')}?"
        )
        self._in_flight = in_flight
        self._broker = broker
        self._results = results
        self._workers = workers
        self._reply_queue = reply_queue
        self._sources: dict[str, PlainBroker | PlainResults] = {
            application.called("broker"): broker
        }
        if results is not None:
            self._sources[application.called("result backend")] = results
        self.health = HealthCheck(
            {name: partial(_probe, source) for name, source in self._sources.items()}
        )

    async def run(self) -> None:
        """Checks the calls until cancelled."""
        await run_periodically(CALL_CHECK_INTERVAL_S, self._check, _log, "checking plain tasks")

    def on_worker_reply(self, reply: Reply, max_message_bytes: int) -> None:
        """Handles a worker's answer to a query: the tasks that it has."""
        now = time.monotonic()
        self._in_flight.on_worker_reply(now)
        try:
            answer = read_limited(reply.body, max_message_bytes * SLACK)
        except ForebayError as error:
            _log.warning("a worker's list of its tasks can't be read: %s", error.message)
            return
        for task_id, running in tasks_of(answer):
            self._in_flight.on_news(task_id, now, running=running)

    async def subscribed(self) -> None:
        """Returns when replies and results are being read, or after 5 s."""
        try:
            async with asyncio.timeout(FIRST_SUBSCRIPTION_S):
                for source in self._sources.values():
                    await listening(source)
        except TimeoutError:
            _log.warning("the %s does not answer; retrying", " or the ".join(self._sources))

    async def _check(self) -> None:
        silent = self._in_flight.start_queries(time.monotonic())
        if self._results is not None:
            await self._results.read([call.id for call in silent])
        for call in self._in_flight.over_run_time(time.monotonic(), self._limit_s):
            call.end(TaskTimeLimit("the task runs for longer than its route's run time"))
        for call in self._in_flight.silent_too_long(time.monotonic()):
            await self._fail(call)
        await self._query(silent)

    async def _query(self, silent: Sequence[PlainCall]) -> None:
        task_ids = [call.id for call in silent if call.ending is None]
        for first in range(0, len(task_ids), _MAX_TASKS_PER_QUERY):
            batch = task_ids[first : first + _MAX_TASKS_PER_QUERY]
            await self._broker.broadcast(query(batch, self._reply_queue, _TICKET))
        # Replies to listings are long, so they are requested only if queries found no worker.
        unreported = [c for c in silent if c.ending is None and c.unanswered_queries > 1]
        if unreported:
            for listing in listings(self._reply_queue, _TICKET):
                await self._broker.broadcast(listing)
            await self._workers.ask_for_tasks()
        await self._note_empty_queues([call for call in silent if call.ending is None])

    async def _note_empty_queues(self, calls: Sequence[PlainCall]) -> None:
        """Notes which messages workers have taken, if the broker can't look for a message.

        If a queue is empty, workers have taken all of its messages that have not expired.
        """
        queued = [] if self._broker.can_withdraw else [call for call in calls if not call.taken]
        for queue in {call.method.route.queue for call in queued}:
            if await self._broker.depth(queue) == 0:
                now = time.monotonic()
                for call in queued:
                    if call.method.route.queue == queue and now < call.may_expire_at:
                        call.taken = True

    async def _fail(self, call: PlainCall) -> None:
        """Ends the call, which revokes its task, unless a worker turns out to have the task.

        The caller may retry a call that was never started. So the watchdog first removes the
        message from its queue. If the broker can't, the call ends once the message has expired.
        """
        if call.refusal is None:
            call.refusal = await self._refusal(call)
        now = time.monotonic()
        if call.refusal is None or now < call.may_be_queued_until or call.ending is not None:
            return
        if not (call.task_ended or call.is_silent_too_long(now)):
            return  # news came meanwhile
        error, note = call.refusal
        with labelled(call):
            _log.warning(
                "call %s of %s: no news of the task %s for %g s: %s",
                *(call.id, call.method.name, call.method.route.task, call.max_silence_s, note),
            )
        call.end(error)

    async def _refusal(self, call: PlainCall) -> tuple[ForebayError, str] | None:
        """The error for the caller, and a note for the log; None if a worker has the task."""
        try:
            withdrawal = await self._broker.withdraw(call.message)
            held = withdrawal is Withdrawal.HELD or call.taken
            if held and self._may_wait_for_rate_limit(call):
                self._in_flight.on_news(call.id, time.monotonic())
                return None
            call.task_ended = withdrawal is Withdrawal.REMOVED
            depth = await self._broker.depth(call.method.route.queue)
        except BackendUnavailable as unavailable:
            if not call.method.may_run_again:
                unavailable.retry_after_s = None
            return unavailable, f"the {self._application.called('broker')} is unavailable"
        error, note = self._diagnosis(call, depth + (withdrawal is Withdrawal.REMOVED))
        if withdrawal in (Withdrawal.HELD, Withdrawal.ABSENT):
            error = aborted_if_effects(error, call.method)  # a worker may have started it
        return error, note

    def _may_wait_for_rate_limit(self, call: PlainCall) -> bool:
        """Whether the task may wait for its rate limit: workers do not report such tasks."""
        limits = self._workers.limits_of(call.method.route.task)
        return limits.is_rate_limited and self._in_flight.has_worker_replied(call)

    def _limit_s(self, call: PlainCall) -> float:
        """How long the call's task may run.

        The message's time limit overrides the task's own. A worker may have reported a shorter
        one after the message was sent.
        """
        if call.message.time_limit_s is None:
            return call.run_time_s
        return min(call.run_time_s, self._workers.limits_of(call.method.route.task).time_limit_s)

    def _diagnosis(self, call: PlainCall, depth: int) -> tuple[ForebayError, str]:
        queue = call.method.route.queue
        if not self._in_flight.has_worker_replied(call):
            return (
                NoWorkers("no live worker reports that it has the task"),
                f"no worker answers; start one for the queue {queue!r}, with its remote control "
                "on (a solo pool can't answer while it works: give the route a longer queue_wait). "
                f"{self._about_key_prefix}",
            )
        if depth:
            return (
                QueueWait("no worker began the call within the method's queue wait"),
                f"{depth} messages wait in the queue {queue!r}; more workers would help",
            )
        return (
            aborted_if_effects(
                TaskUnanswered("no worker has the task any more, and no result of it has arrived"),
                call.method,
            ),
            "no worker has it and no result came. Did it raise Ignore, or replace itself by tasks "
            "that take longer (raise the route's queue_wait)? Did its worker die? Is the "
            f"application's result_backend the one in {self._application.setting('result_url')}? "
            f"{self._about_key_prefix}",
        )


async def _probe(source: PlainBroker | PlainResults) -> None:
    """Returns when the backend answers and its messages are being read."""
    await source.ping()
    await listening(source)
