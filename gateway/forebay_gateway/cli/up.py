"""`forebay up`: a Celery worker for each queue, and the gateway.

The workers are child processes that end with this one (`server/child_process.py`). A gateway
of one process runs in this process and starts after the workers: gRPC must not be running
when a process forks.

Shutdown order: the gateway drains while the workers still run; the workers finish
the calls that they have begun; then the command stops the embedded server.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from forebay.extras import command_to_install, missing_of
from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.presence import consumed_queues, live_workers
from forebay_backends.settings import Settings
from forebay_gateway.fleet.worker_problems import ProblemKind, consumers_of
from forebay_gateway.server.child_process import ChildProcess
from forebay_gateway.server.methods import load_methods
from forebay_gateway.server.processes import running_gateways
from forebay_gateway.server.supervisor import (
    READY_TIMEOUT_S,
    SupervisedProcess,
    restarted,
    started,
)

COMPUTE_APPLICATION = "forebay_workers"
"""The Celery application with ComputeService's handlers."""
POOLS = ("prefork", "threads", "solo", "asyncio")
"""The pools of Celery that can run handlers, and Forebay's (`forebay_workers/asyncio_pool.py`)."""
WORKER_STOP_TIMEOUT_S = 10.0
_STOP_STEPS = (
    (signal.SIGTERM, WORKER_STOP_TIMEOUT_S),  # Celery's warm shutdown
    (signal.SIGQUIT, WORKER_STOP_TIMEOUT_S / 2),  # Celery's cold shutdown
)


class UpError(RuntimeError):
    """The workers did not start; the message says why and what to do."""


@asynccontextmanager
async def everything_up(
    settings: Settings,
    concurrency: int,
    application: str = COMPUTE_APPLICATION,
    pool: str | None = None,
) -> AsyncIterator[str]:
    """Runs workers and gateway until the block is left; yields the address, HOST:PORT.

    The workers run `application`, named as for `celery -A`, in `pool`, or in the application's
    own if that is None. Raises UpError if a worker does not start, or has not registered the
    tasks of its queue.
    """
    methods = load_methods(settings)
    # Plain tasks run in the workers of their own application, which are not started here.
    ours = [method for method in methods if not method.is_plain]
    if ours and (missing := missing_of("workers")):
        raise UpError(
            f"the workers need {', '.join(missing)}: {command_to_install('workers')}, or run "
            "`forebay gateway` here and workers elsewhere"
        )
    queues = sorted({method.route.queue for method in ours})
    workers = [_worker(application, queue, settings, concurrency, pool) for queue in queues]
    async with started(workers):
        if ours:
            await _ready(settings, ours, workers)
        async with restarted(workers), running_gateways(settings) as address:
            yield address


async def _ready(
    settings: Settings, methods: Sequence[Method], workers: Sequence[SupervisedProcess]
) -> None:
    """Waits for a live worker on every queue; raises UpError if one ends or lacks a task."""
    queues = {method.route.queue for method in methods}
    ledger = Ledger(settings.backends().ledger)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while queues - consumed_queues(live := await live_workers(ledger)).keys():
                _raise_if_ended(workers)
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise UpError(f"the workers were not ready within {READY_TIMEOUT_S:g} s") from None
    finally:
        await ledger.close()
    lacking = [
        f"{method.name}: {problem.description}"
        for method in methods
        for problem in consumers_of(method, live, version("forebay")).problems
        if problem.kind is ProblemKind.TASK_UNREGISTERED
    ]
    if lacking:
        raise UpError("\n".join([*lacking, "name the application that registers it with --app"]))


def _raise_if_ended(workers: Sequence[SupervisedProcess]) -> None:
    for worker in workers:
        if worker.exit_code is not None:
            raise UpError(f"{worker.name} ended with code {worker.exit_code}")


def _worker(
    application: str, queue: str, settings: Settings, concurrency: int, pool: str | None
) -> SupervisedProcess:
    backends = settings.backends()
    child = ChildProcess(
        "forebay_workers.supervised",
        f"worker {queue}",
        application,
        *("--queues", queue),
        *("--hostname", f"forebay-{queue}-{os.getpid()}@%h"),
        *("--concurrency", str(concurrency)),
        *(() if pool is None else (f"--pool={pool}",)),
        *("--loglevel", settings.log_level),
        *("--without-mingle", "--without-gossip", "--without-heartbeat"),
        # The workers read these from the environment; here, flags may have set them.
        env={
            "FOREBAY_LEDGER_URL": backends.ledger_url,
            "FOREBAY_BROKER_URL": backends.broker_url,
            "FOREBAY_ROUTES": str(settings.routes or ""),
            "FOREBAY_LOG_FORMAT": settings.log_format,
        },
        stdout=asyncio.subprocess.DEVNULL,  # Celery's banner; its log is on stderr
    )
    return SupervisedProcess(f"the worker of queue {queue!r}", child, _STOP_STEPS)
