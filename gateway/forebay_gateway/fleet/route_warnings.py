"""Warning where routes and live workers don't fit, when that changes.

What is wrong is said when it has been so for a while: workers come and go one by one when they
are restarted. It is said once, and once more when it is mended.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence

from forebay.routes import Method
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.worker_problems import consumers_of

SETTLED_S = 5.0
LOOK_EVERY_S = 1.0

_log = logging.getLogger(__name__)


class RouteWarnings:
    """What was said of what is wrong. It does no I/O; `say` takes a level and a line."""

    def __init__(self, say: Callable[[int, str], None], settled_s: float = SETTLED_S) -> None:
        self._say = say
        self._settled_s = settled_s
        self._since: dict[str, float] = {}
        self._said: set[str] = set()

    def hear(self, now: float, route_warnings: Collection[str]) -> None:
        """Takes all that is wrong now, at `now` s of a monotonic clock."""
        self._since = {what: self._since.get(what, now) for what in route_warnings}
        for what in sorted(self._said - self._since.keys()):
            self._said.remove(what)
            self._say(logging.INFO, f"mended: {what}")
        for what, since in self._since.items():
            if now - since >= self._settled_s and what not in self._said:
                self._said.add(what)
                self._say(logging.WARNING, what)


def route_warnings(
    methods: Sequence[Method], workers: Sequence[WorkerPresence], version: str
) -> list[str]:
    """A line for each thing that is wrong; methods that have it in common share it."""
    lines: dict[str, list[str]] = {}
    for method in methods:
        for problem in consumers_of(method, workers, version).problems:
            what = f"{problem.description}; to mend it: {problem.fix}"
            lines.setdefault(what, []).append(method.name)
    return [f"{', '.join(names)}: {what}" for what, names in lines.items()]


async def watch_routes(methods: Sequence[Method], fleet: FleetMonitor, version: str) -> None:
    """Warns until cancelled; what can't be known, while the ledger is away, is not said."""
    told = RouteWarnings(_log.log)

    async def look() -> None:
        if fleet.health.ledger:
            now = asyncio.get_running_loop().time()
            told.hear(now, route_warnings(methods, fleet.workers, version))

    await run_periodically(LOOK_EVERY_S, look, _log, "comparing routes with workers")
