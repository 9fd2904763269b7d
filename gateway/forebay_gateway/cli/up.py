"""Everything at once: a worker for each queue, and the gateway, in one process group.

The workers are this process's children and end with it (`children.py`). The gateway, where
it is one process, runs here, started after them: gRPC must not be running when a process
forks.

Order of the end: the gateway drains while workers still work, then the workers
end what they have begun, then, elsewhere, the embedded server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version

from forebay.routes import Method
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.presence import consumed_queues, live_workers
from forebay_backends.settings import Settings
from forebay_gateway.fleet.worker_problems import ProblemKind, consumers_of
from forebay_gateway.server.child_process import Child
from forebay_gateway.server.gateway import load_methods
from forebay_gateway.server.processes import running_gateways

OURS = "forebay_workers"
"""The application of ComputeService's handlers."""
READY_TIMEOUT_S = 60.0
WORKER_STOP_TIMEOUT_S = 10.0
_RESTART_AFTER_S = 1.0

_log = logging.getLogger(__name__)


class UpError(RuntimeError):
    """Something did not come up; the message says what."""


@asynccontextmanager
async def everything_up(
    settings: Settings, concurrency: int, application: str = OURS
) -> AsyncIterator[str]:
    """Runs workers and gateway until the block is left; yields the address, HOST:PORT.

    The workers run `application`, by the name that `celery -A` takes. Raises UpError where one
    does not come up, or has not registered the tasks of its queue.
    """
    methods = load_methods(settings.services)
    # Plain tasks have workers of their own, which their application starts.
    ours = [method for method in methods if not method.is_plain]
    queues = sorted({method.route.queue for method in ours})
    async with asyncio.TaskGroup() as group:
        workers = [_Worker(application, queue, settings, concurrency) for queue in queues]
        try:
            for worker in workers:
                await worker.start()
            if ours:
                await _ready(settings, ours, workers)
            keepers = [group.create_task(worker.keep()) for worker in workers]
            try:
                async with running_gateways(settings) as address:
                    yield address
            finally:
                for keeper in keepers:
                    keeper.cancel()
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))


async def _ready(settings: Settings, methods: Sequence[Method], workers: Sequence[_Worker]) -> None:
    """Returns when live workers consume every queue; raises UpError where they lack a task."""
    queues = {method.route.queue for method in methods}
    ledger = Ledger(settings.backends().ledger_url)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while queues - consumed_queues(live := await live_workers(ledger)).keys():
                for worker in workers:
                    worker.check()
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise UpError(f"the workers were not ready within {READY_TIMEOUT_S:g} s") from None
    finally:
        await ledger.close()
    lacking = [
        f"{method.name}: {problem.description}"
        for method in methods
        for problem in consumers_of(method, live, version("forebay")).problems
        if problem.trouble is ProblemKind.TASK_UNREGISTERED
    ]
    if lacking:
        raise UpError("\n".join([*lacking, "name the application that registers it with --app"]))


class _Worker:
    """A Celery worker of one queue, as a child process."""

    def __init__(self, application: str, queue: str, settings: Settings, concurrency: int) -> None:
        self._queue = queue
        self._child = Child(
            "forebay_workers.supervised",
            application,
            *("--queues", queue),
            *("--hostname", f"forebay-{queue}-{os.getpid()}@%h"),
            *("--concurrency", str(concurrency)),
            *("--loglevel", "WARNING"),
            *("--without-mingle", "--without-gossip", "--without-heartbeat"),
            env=_environment(settings),
            stdout=asyncio.subprocess.DEVNULL,  # Celery's banner; its log is on stderr
        )

    async def start(self) -> None:
        """Starts the process."""
        await self._child.start()

    def check(self) -> None:
        """Raises UpError where the process has ended."""
        if self._child.code is not None:
            raise UpError(f"the worker of queue {self._queue!r} ended with code {self._child.code}")

    async def keep(self) -> None:
        """Starts the process again whenever it ends."""
        while True:
            code = await self._child.ended()
            _log.error("the worker of queue %r ended with code %s; again", self._queue, code)
            await asyncio.sleep(_RESTART_AFTER_S)
            await self._child.start()

    async def stop(self) -> None:
        """Lets the process end what it has begun, for a while."""
        helped = await self._child.stop(
            (signal.SIGTERM, WORKER_STOP_TIMEOUT_S), (signal.SIGQUIT, WORKER_STOP_TIMEOUT_S / 2)
        )
        if not helped:
            _log.warning("the worker of queue %r was ended, with what it ran", self._queue)


def _environment(settings: Settings) -> dict[str, str]:
    """The settings that flags may have changed, for a worker."""
    backends = settings.backends()
    return {
        "FOREBAY_LEDGER_URL": backends.ledger_url,
        "FOREBAY_BROKER_URL": backends.broker_url,
    }
