"""Everything at once: a worker for each queue, and the gateway, in one process group.

The workers are this process's children and end with it: each holds the reading
end of a pipe (see `forebay_workers.supervised`). The gateway runs here, started
after them: gRPC must not be running when a process forks.

Order of the end: the gateway drains while workers still work, then the workers
end what they have begun, then, elsewhere, the embedded server.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay_gateway.server import load_methods, running_gateway
from forebay_ledger.connection import Ledger
from forebay_ledger.presence import consumed_queues, live_workers
from forebay_ledger.settings import Settings

READY_TIMEOUT_S = 60.0
WORKER_STOP_TIMEOUT_S = 10.0
_RESTART_AFTER_S = 1.0

_log = logging.getLogger(__name__)


class UpError(RuntimeError):
    """Something did not come up; the message says what."""


@asynccontextmanager
async def everything_up(settings: Settings, concurrency: int) -> AsyncIterator[str]:
    """Runs workers and gateway until the block is left; yields the address, HOST:PORT.

    Raises UpError where a worker does not come up.
    """
    queues = sorted({method.route.queue for method in load_methods(settings.services)})
    async with asyncio.TaskGroup() as group:
        workers = [_Worker(queue, settings, concurrency) for queue in queues]
        try:
            for worker in workers:
                await worker.start()
            await _ready(settings, queues, workers)
            keepers = [group.create_task(worker.keep()) for worker in workers]
            try:
                async with running_gateway(settings) as address:
                    yield address
            finally:
                for keeper in keepers:
                    keeper.cancel()
        finally:
            await asyncio.gather(*(worker.stop() for worker in workers))


async def _ready(settings: Settings, queues: list[str], workers: list[_Worker]) -> None:
    """Returns when live workers consume every queue."""
    ledger = Ledger(settings.backends().ledger_url)
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while set(queues) - consumed_queues(await live_workers(ledger)).keys():
                for worker in workers:
                    worker.check()
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise UpError(f"the workers were not ready within {READY_TIMEOUT_S:g} s") from None
    finally:
        await ledger.close()


class _Worker:
    """A Celery worker of one queue, as a child process."""

    def __init__(self, queue: str, settings: Settings, concurrency: int) -> None:
        self._queue = queue
        self._settings = settings
        self._concurrency = concurrency
        self._process: asyncio.subprocess.Process | None = None
        self._pipe = -1

    async def start(self) -> None:
        """Starts the process."""
        reader, self._pipe = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "forebay_workers.supervised",
                str(reader),
                "--queues",
                self._queue,
                "--hostname",
                f"forebay-{self._queue}-{os.getpid()}@%h",
                "--concurrency",
                str(self._concurrency),
                "--loglevel",
                "WARNING",
                "--without-mingle",
                "--without-gossip",
                "--without-heartbeat",
                pass_fds=(reader,),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,  # Celery's banner; its log is on stderr
                env={**os.environ, **_environment(self._settings)},
            )
        finally:
            os.close(reader)

    def check(self) -> None:
        """Raises UpError where the process has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise UpError(
                f"the worker of queue {self._queue!r} ended with code {self._process.returncode}"
            )

    async def keep(self) -> None:
        """Starts the process again whenever it ends."""
        while True:
            code = await self._running().wait()
            _log.error("the worker of queue %r ended with code %s; again", self._queue, code)
            self._let_go()
            await asyncio.sleep(_RESTART_AFTER_S)
            await self.start()

    async def stop(self) -> None:
        """Lets the process end what it has begun, for a while."""
        process = self._process
        if process is None:
            return
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(WORKER_STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                _log.warning("the worker of queue %r is ended, with what it runs", self._queue)
                process.send_signal(signal.SIGQUIT)
                try:
                    async with asyncio.timeout(WORKER_STOP_TIMEOUT_S / 2):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()
        self._let_go()

    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise RuntimeError("the worker was not started")
        return self._process

    def _let_go(self) -> None:
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def _environment(settings: Settings) -> dict[str, str]:
    """The settings that flags may have changed, for a worker."""
    backends = settings.backends()
    return {
        "FOREBAY_LEDGER_URL": backends.ledger_url,
        "FOREBAY_BROKER_URL": backends.broker_url,
    }
