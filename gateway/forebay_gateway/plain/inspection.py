"""Asks the workers of an application by Celery's `inspect`, to check routes of plain tasks.

Each worker answers `registered`, `active_queues`, `stats` and `conf` to the gateway's reply queue.
The environment of a worker may override the `result_backend` of its configuration. `conf` does not
show that and `report` does; but `report` starts a process in the worker, so it is asked only where
`conf` shows another result backend than the gateway's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from forebay.errors import ForebayError
from forebay.routes import Method
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.settings import CeleryApplication
from forebay_gateway.fleet.plain_workers import PlainWorker, plain_consumers_of
from forebay_gateway.fleet.result_backends import DISABLED, Match, compared
from forebay_gateway.fleet.route_warnings import (
    INSPECTION_INTERVAL_S,
    PROBLEM_INTERVAL_S,
    RouteWarnings,
    problem_lines,
)
from forebay_gateway.fleet.worker_problems import Consumers, ProblemKind
from forebay_gateway.plain.brokers.base import PlainBroker, listening
from forebay_gateway.plain.brokers.celery_messages import ControlMessage, Reply
from forebay_gateway.plain.mapping.result_meta import SLACK, read_limited
from forebay_gateway.plain.task_limits import (
    REPORTED_ATTRIBUTES,
    TaskLimits,
    limits_by_task,
    strictest,
)

REPLY_WAIT_S = 1.0
"""How long workers have to answer, as in Celery's `inspect`."""
LIVE_S = 90.0
"""A worker counts as live for this long after an answer: one of the solo pool that works gives
none to the next question."""

_TICKET = "inspect:"
_COMMANDS: dict[str, dict[str, Any]] = {
    "registered": {"taskinfoitems": REPORTED_ATTRIBUTES, "builtins": True},
    "active_queues": {},
    "stats": {},
    "conf": {"with_defaults": True},
}
_MAY_COME = {ProblemKind.NO_CONSUMER}
_NEEDED = frozenset({"registered", "active_queues"})
_ABOUT_LIMITS = frozenset({"registered", "stats"})
_REPORTED_BACKEND = re.compile(r"\bresults:(\S+)")

_log = logging.getLogger(__name__)


@dataclass
class _Answers:
    """A worker's latest answer to each command; times are monotonic."""

    by_command: dict[str, Any] = field(default_factory=dict)
    heard_at: float = 0.0
    limits: dict[str, TaskLimits] = field(default_factory=dict)


class PlainWorkers:
    """The live workers of one application."""

    def __init__(
        self,
        broker: PlainBroker,
        reply_queue: str,
        application: CeleryApplication,
        max_message_bytes: int,
    ) -> None:
        self._broker = broker
        self._reply_queue = reply_queue
        self._application = application
        self._result_url = application.result_url
        self._max_reply_bytes = max_message_bytes * SLACK
        self._answers: dict[str, _Answers] = {}
        self._limits: dict[str, TaskLimits] = {}
        self._inspected = asyncio.Event()

    def on_reply(self, reply: Reply) -> bool:
        """Takes a worker's answer; returns False for replies to others' questions."""
        if not reply.ticket.startswith(_TICKET):
            return False
        try:
            answer = read_limited(reply.body, self._max_reply_bytes)
        except ForebayError as error:
            _log.warning("a worker's answer to inspect can't be read: %s", error.message)
            return True
        command = reply.ticket.removeprefix(_TICKET)
        for worker, content in answer.items() if isinstance(answer, dict) else ():
            answers = self._answers.setdefault(worker, _Answers())
            answers.by_command[command] = content
            answers.heard_at = time.monotonic()
            if command in _ABOUT_LIMITS:
                registered = _list(answers.by_command.get("registered"))
                answers.limits = limits_by_task(registered, _pool(answers.by_command))
                self._limits.clear()
        return True

    async def inspect(self) -> None:
        """Asks all workers, and returns when they had time to answer; raises BackendUnavailable."""
        for command, arguments in _COMMANDS.items():
            await self._ask(command, arguments)
        await asyncio.sleep(REPLY_WAIT_S)
        configured = {worker.result_backend for worker in self._live(_configured_backend)}
        if any(compared(one, self._result_url) is not Match.SAME for one in configured):
            await self._ask("report", {})
            await asyncio.sleep(REPLY_WAIT_S)
        self._inspected.set()

    @property
    def inspected(self) -> bool:
        """Whether the workers have had time to answer a first time."""
        return self._inspected.is_set()

    async def had_time_to_answer(self) -> None:
        """Returns when the workers have been inspected for the first time, or after 2 s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * REPLY_WAIT_S):
                await self._inspected.wait()

    async def ask_for_tasks(self) -> None:
        """Asks the workers anew for their tasks and limits; raises BackendUnavailable."""
        await self._ask("registered", _COMMANDS["registered"])

    def limits_of(self, task: str) -> TaskLimits:
        """The task's limits, the strictest of those that live workers have reported."""
        known = self._limits.get(task)
        if known is None:
            found = (answers.limits.get(task) for answers in self._live_answers().values())
            known = self._limits[task] = strictest(each for each in found if each is not None)
        return known

    @property
    def live(self) -> list[PlainWorker]:
        """The live workers that have answered."""
        return self._live(_configured_backend)

    def consumers_of(self, method: Method) -> Consumers:
        """The workers that can run the plain method, and their problems; none before `inspect`."""
        if not self.inspected:
            return Consumers(method, (), 0, ())
        return plain_consumers_of(method, self._live(self._backend), self._application)

    async def watch(self, methods: Sequence[Method]) -> None:
        """Inspects until cancelled, and logs warnings about routes that the workers don't serve.

        What workers answered is reported at once. A queue without a worker is reported after 5 s:
        its worker may be starting.
        """
        answered, absent = RouteWarnings(_log.log, settled_s=0.0), RouteWarnings(_log.log)
        due_at = 0.0

        async def check() -> None:
            nonlocal due_at
            if time.monotonic() < due_at:
                return
            await self.inspect()
            now = time.monotonic()
            found = [self.consumers_of(method) for method in methods]
            answered.update(now, problem_lines(found, set(ProblemKind) - _MAY_COME))
            absent.update(now, problem_lines(found, _MAY_COME))
            due_at = 0.0 if any(one.is_broken for one in found) else now + INSPECTION_INTERVAL_S

        await listening(self._broker)
        await run_periodically(
            PROBLEM_INTERVAL_S, check, _log, self._application.called("inspecting the workers")
        )

    async def _ask(self, command: str, arguments: dict[str, Any]) -> None:
        ticket = f"{_TICKET}{command}"
        await self._broker.broadcast(ControlMessage(command, arguments, self._reply_queue, ticket))

    def _live_answers(self) -> dict[str, _Answers]:
        now = time.monotonic()
        self._answers = {
            worker: answers
            for worker, answers in self._answers.items()
            if now - answers.heard_at < LIVE_S
        }
        return self._answers

    def _live(self, backend_of: Callable[[_Answers], str]) -> list[PlainWorker]:
        return [
            _worker(name, answers, backend_of(answers))
            for name, answers in sorted(self._live_answers().items())
            if answers.by_command.keys() >= _NEEDED
        ]

    def _backend(self, answers: _Answers) -> str:
        """The configured backend if the gateway reads it, else the one that is in effect."""
        configured = _configured_backend(answers)
        if compared(configured, self._result_url) is Match.SAME:
            return configured
        report = answers.by_command.get("report")
        text = report.get("ok", "") if isinstance(report, dict) else ""
        reported = _REPORTED_BACKEND.search(str(text))
        return reported[1] if reported else ""


def _configured_backend(answers: _Answers) -> str:
    conf = answers.by_command.get("conf")
    return str(conf.get("result_backend") or DISABLED) if isinstance(conf, dict) else ""


def _worker(name: str, answers: _Answers, result_backend: str) -> PlainWorker:
    """Reads a worker's answers; what has another form than Celery's counts as unknown."""
    by_command = answers.by_command
    conf = _object(by_command.get("conf"))
    slots = _pool(by_command).get("max-concurrency")
    accepted = conf.get("accept_content")
    return PlainWorker(
        name,
        queues=tuple(
            str(_object(queue).get("name")) for queue in _list(by_command["active_queues"])
        ),
        tasks=tuple(answers.limits),
        slots=slots if isinstance(slots, int) else 1,
        result_backend=result_backend,
        accept_content=tuple(map(str, accepted)) if isinstance(accepted, list) else ("json",),
        result_serializer=str(conf.get("result_serializer") or "json"),
    )


def _pool(by_command: dict[str, Any]) -> dict[str, Any]:
    return _object(_object(by_command.get("stats")).get("pool"))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
