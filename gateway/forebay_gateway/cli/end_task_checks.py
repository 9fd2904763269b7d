"""Checks that workers have the `on_end` tasks of routes, for `forebay doctor`."""

from __future__ import annotations

from collections.abc import Sequence

from forebay.routes import Method
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.settings import Settings
from forebay_gateway.cli.finding import Finding
from forebay_gateway.fleet.end_tasks import end_tasks, without_worker
from forebay_gateway.server.end_task_warnings import unserved_end_tasks


async def end_task_findings(
    settings: Settings, methods: Sequence[Method], workers: Sequence[WorkerPresence]
) -> list[Finding]:
    tasks = end_tasks(methods)
    unserved = without_worker(tasks, workers)
    if unserved:
        unserved = await unserved_end_tasks(unserved, settings.application())
    return [
        Finding(f"on_end {one.on_end.task}", False, one.problem, one.fix)
        if one in unserved
        else Finding(f"on_end {one.on_end.task}", True, f"in queue {one.on_end.queue}")
        for one in tasks
    ]
