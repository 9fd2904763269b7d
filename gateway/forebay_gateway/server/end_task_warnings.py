"""Warnings in the log about tasks of `on_end` that no live worker has.

Forebay's workers announce their tasks. Only if none of them has the task, all workers are asked by
Celery's `inspect`: the task may be one of another application.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from forebay.errors import BackendUnavailable
from forebay.routes import Method
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.settings import CeleryApplication
from forebay_gateway.fleet.end_tasks import EndTask, end_tasks, without_worker
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.route_warnings import (
    INSPECTION_INTERVAL_S,
    PROBLEM_INTERVAL_S,
    RouteWarnings,
)

_log = logging.getLogger(__name__)


async def unserved_end_tasks(
    tasks: Sequence[EndTask], application: CeleryApplication
) -> list[EndTask]:
    """The tasks that none of the workers has that answer `inspect`."""
    # Celery takes 10 MB of memory, which few gateways need.
    from forebay_gateway.plain.asking import asked_workers

    try:
        async with asked_workers(application) as workers:
            await workers.inspect()
            return without_worker(tasks, workers.live)
    except (BackendUnavailable, TimeoutError):
        return list(tasks)


async def watch_end_tasks(
    methods: Sequence[Method], fleet: FleetMonitor, application: CeleryApplication
) -> None:
    """Logs warnings until cancelled; nothing while the ledger is unavailable."""
    tasks, warnings = end_tasks(methods), RouteWarnings(_log.log)
    answered_until = 0.0

    async def check() -> None:
        nonlocal answered_until
        if not fleet.workers_are_known:
            return
        unserved = without_worker(tasks, fleet.workers)
        if unserved and time.monotonic() < answered_until:
            return
        if unserved:
            unserved = await unserved_end_tasks(unserved, application)
            answered_until = 0.0 if unserved else time.monotonic() + INSPECTION_INTERVAL_S
        now = asyncio.get_running_loop().time()
        lines = [
            f"{', '.join(one.methods)}: {one.problem}; to fix it: {one.fix}" for one in unserved
        ]
        warnings.update(now, lines)

    await run_periodically(PROBLEM_INTERVAL_S, check, _log, "looking for the tasks of `on_end`")
