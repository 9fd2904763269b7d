"""Warnings in the log about routes that the live workers do not serve.

A problem is reported once, when it has lasted for 5 s (workers come and go one by one during a
rolling restart), and once more when it is fixed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Sequence

from forebay.routes import Method
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.worker_problems import Consumers, ProblemKind, consumers_of

SETTLED_S = 5.0
WORKER_CHECK_INTERVAL_S = 1.0
INSPECTION_INTERVAL_S = 60.0
"""How often workers that announce nothing in the ledger are asked by Celery's `inspect`."""
PROBLEM_INTERVAL_S = 5.0
"""The interval while these workers have a problem."""

_log = logging.getLogger(__name__)


class RouteWarnings:
    """Decides which problems to log, and when. Pure; `log` takes a level and a line."""

    def __init__(self, log: Callable[[int, str], None], settled_s: float = SETTLED_S) -> None:
        self._log = log
        self._settled_s = settled_s
        self._since: dict[str, float] = {}
        self._reported: set[str] = set()

    def update(self, now: float, problems: Collection[str]) -> None:
        """Takes all current problems, at `now` s of a monotonic clock."""
        self._since = {problem: self._since.get(problem, now) for problem in problems}
        for problem in sorted(self._reported - self._since.keys()):
            self._reported.remove(problem)
            self._log(logging.INFO, f"fixed: {problem}")
        for problem, since in self._since.items():
            if now - since >= self._settled_s and problem not in self._reported:
                self._reported.add(problem)
                self._log(logging.WARNING, problem)


def route_problems(
    methods: Sequence[Method], workers: Sequence[WorkerPresence], version: str
) -> list[str]:
    """A line for each problem of the methods' workers."""
    return problem_lines(consumers_of(method, workers, version) for method in methods)


def problem_lines(
    consumers: Iterable[Consumers], kinds: Collection[ProblemKind] = tuple(ProblemKind)
) -> list[str]:
    """A line for each problem of these kinds; methods with the same problem share one."""
    names_by_problem: dict[str, list[str]] = {}
    for found in consumers:
        for problem in (one for one in found.problems if one.kind in kinds):
            line = f"{problem.description}; to fix it: {problem.fix}"
            names_by_problem.setdefault(line, []).append(found.method.name)
    return [f"{', '.join(names)}: {line}" for line, names in names_by_problem.items()]


async def watch_routes(methods: Sequence[Method], fleet: FleetMonitor, version: str) -> None:
    """Logs warnings until cancelled; nothing while the ledger is unavailable."""
    warnings = RouteWarnings(_log.log)

    async def check() -> None:
        if fleet.workers_are_known:
            now = asyncio.get_running_loop().time()
            warnings.update(now, route_problems(methods, fleet.workers, version))

    await run_periodically(WORKER_CHECK_INTERVAL_S, check, _log, "comparing routes with workers")
