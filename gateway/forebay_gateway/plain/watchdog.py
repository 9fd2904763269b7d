"""Looking after calls that are not heard of, and whether broker and result backend answer."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable

from forebay.errors import (
    BackendUnavailable,
    ForebayError,
    NoWorkers,
    QueueWait,
    TaskTimeLimit,
    TaskUnanswered,
)
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.reaper import ROUND_S
from forebay_gateway.fleet.monitor import HEALTH_TIMEOUT_S
from forebay_gateway.plain.brokers.base import Broker
from forebay_gateway.plain.brokers.celery_messages import Reply, query
from forebay_gateway.plain.brokers.redis_results import RedisResults
from forebay_gateway.plain.in_flight import InFlight, PlainCall
from forebay_gateway.plain.mapping.result_meta import SLACK, read_limited
from forebay_gateway.plain.task_outcome import with_effects

_TICKET = "forebay"
_ASK_AT_ONCE = 1000
_FIRST_SUBSCRIPTION_S = 5.0

_log = logging.getLogger(__name__)


class Watchdog:
    """Asks workers for silent calls, and gives up those of which nothing comes."""

    def __init__(
        self, waiting: InFlight, broker: Broker, results: RedisResults | None, reply_queue: str
    ) -> None:
        self._in_flight = waiting
        self._broker = broker
        self._results = results
        self._reply_queue = reply_queue
        self.answers = True
        """Whether broker and result backend do, and are heard, as of the last look."""

    async def look_after(self) -> None:
        """Looks until cancelled."""
        await run_periodically(ROUND_S, self._look, _log, "looking after plain tasks")

    def on_answer(self, reply: Reply, max_message_bytes: int) -> None:
        """A worker says which tasks it has."""
        now = time.monotonic()
        self._in_flight.answered(now)
        try:
            said = read_limited(reply.body, max_message_bytes * SLACK)
        except ForebayError as error:
            _log.warning("what a worker says of its tasks can't be read: %s", error.message)
            return
        for tasks in said.values() if isinstance(said, dict) else ():
            for task_id, state in tasks.items() if isinstance(tasks, dict) else ():
                running = isinstance(state, list) and state[:1] == ["active"]
                self._in_flight.heard(task_id, now, running=running)

    async def watch_over(self, on_health: Callable[[bool], Awaitable[None]]) -> None:
        """Asks broker and result backend until cancelled; `on_health` hears of each change."""
        said: bool | None = None
        while True:
            try:
                self.answers = await self._all_answer()
            except Exception:  # a fault of ours must not end the gateway
                _log.exception("a look at the backends failed")
                self.answers = False
            if self.answers != said:
                said = self.answers
                await on_health(said)
            await asyncio.sleep(ROUND_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def subscribed(self) -> None:
        """Returns when replies and results are heard, or after a while without."""
        try:
            async with asyncio.timeout(_FIRST_SUBSCRIPTION_S):
                while not self._is_listening:  # noqa: ASYNC110 - a thread sets it
                    await asyncio.sleep(0.01)
        except TimeoutError:
            _log.warning("the broker or the result backend does not answer; trying on")

    async def _all_answer(self) -> bool:
        asked = [self._asked(self._broker.ping(), "broker")]
        if self._results is not None:
            asked.append(self._asked(self._results.ping(), "result backend"))
        return all(await asyncio.gather(*asked)) and self._is_listening

    @property
    def _is_listening(self) -> bool:
        results = self._results
        return self._broker.is_listening and (results is None or results.is_listening)

    async def _asked(self, asking: Awaitable[None], what: str) -> bool:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await asking
        except (BackendUnavailable, TimeoutError) as error:
            if self.answers:
                _log.warning("the %s does not answer: %r", what, error.__cause__ or error)
            return False
        return True

    async def _look(self) -> None:
        ids = self._in_flight.to_ask(time.monotonic())
        if self._results is not None:
            await self._results.read(ids)
        for call in self._in_flight.overrun(time.monotonic()):
            call.ended(TaskTimeLimit("the task runs for longer than its route's run time"))
        for call in self._in_flight.given_up(time.monotonic()):
            await self._give_up(call)
        for first in range(0, len(ids), _ASK_AT_ONCE):
            some = ids[first : first + _ASK_AT_ONCE]
            await self._broker.broadcast(query(some, self._reply_queue, _TICKET))

    async def _give_up(self, call: PlainCall) -> None:
        """Ends the call, which has its task revoked."""
        error, note = await self._why(call)
        if call.end is not None:
            return  # it was heard of meanwhile
        _log.warning(
            "call %s of %s: nothing was heard of the task %s for %g s: %s",
            *(call.id, call.method.name, call.method.route.task, call.patience_s, note),
        )
        call.ended(error)

    async def _why(self, call: PlainCall) -> tuple[ForebayError, str]:
        queue = call.method.route.queue
        try:
            depth = await self._broker.depth(queue)
        except BackendUnavailable as error:
            if not call.method.may_run_again:
                error.retry_after_s = None
            return error, "the broker is away"
        if not self._in_flight.workers_answer(call):
            return (
                NoWorkers("no live worker says that it has the task"),
                f"no worker answers; start one for the queue {queue!r}, with its remote control "
                "on (a solo pool can't answer while it works: give the route a longer queue_wait)",
            )
        if depth:
            return (
                QueueWait("no worker began the call within the method's queue wait"),
                f"{depth} messages wait in the queue {queue!r}; more workers would help",
            )
        return (
            with_effects(
                TaskUnanswered("no worker has the task any more, and no result of it came"),
                call.method,
            ),
            "no worker has it and no result came. Did it raise Ignore, or replace itself by tasks "
            "that take longer (raise the route's queue_wait)? Did its worker die? Is the "
            "application's result_backend what FOREBAY_RESULT_URL says?",
        )
