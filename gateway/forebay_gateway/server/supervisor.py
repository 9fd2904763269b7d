"""Child processes that are restarted whenever they end."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from forebay_gateway.server.child_process import ChildProcess, StopStep
from forebay_gateway.server.errors import GatewayError

READY = "ready"
"""A process writes this text to its parent once it serves; any other text is its error message."""
READY_TIMEOUT_S = 60.0
_MIN_BACKOFF_S, _MAX_BACKOFF_S = 1.0, 30.0
_STABLE_AFTER_S = 60.0

_log = logging.getLogger(__name__)


def backoff_s(previous_s: float, lived_s: float) -> float:
    """How long to wait before a process is restarted. Pure.

    The wait doubles from 1 s to 30 s; a process that ran for a minute starts over at 1 s.
    """
    if lived_s > _STABLE_AFTER_S:
        return _MIN_BACKOFF_S
    return min(max(previous_s * 2, _MIN_BACKOFF_S), _MAX_BACKOFF_S)


class SupervisedProcess:
    """A child process with a name for logs and errors.

    With `reports_ready`, the child has started once it has written READY to its parent; without,
    as soon as it exists.
    """

    def __init__(
        self,
        name: str,
        child: ChildProcess,
        stop_steps: Sequence[StopStep],
        *,
        reports_ready: bool = False,
    ) -> None:
        self.name = name
        self._child = child
        self._stop_steps = stop_steps
        self._reports_ready = reports_ready

    @property
    def exit_code(self) -> int | None:
        """None while the process runs, and before it was started."""
        return self._child.exit_code

    async def start(self) -> None:
        """Starts the process; raises GatewayError if it does not report that it is ready."""
        await self._child.start()
        if not self._reports_ready:
            return
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                problem = await self._child.read_until(READY)
        except TimeoutError:
            await self.stop()
            problem = f"it was not ready within {READY_TIMEOUT_S:g} s"
        if problem is not None:
            code = await self._child.wait()
            problem = problem or f"it ended with code {code}; the log says why"
            raise GatewayError(f"{self.name} did not start: {problem}")

    async def keep_running(self) -> None:
        """Restarts the process whenever it ends, until cancelled."""
        backoff = 0.0
        started_at = time.monotonic()
        while True:
            code = await self._child.wait()
            backoff = backoff_s(backoff, time.monotonic() - started_at)
            _log.error("%s ended with code %d; restarting it in %g s", self.name, code, backoff)
            await asyncio.sleep(backoff)
            started_at = time.monotonic()
            try:
                await self.start()
            except GatewayError as error:
                _log.error("%s", error)
            else:
                _log.info("%s was restarted", self.name)

    def send_signal(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    async def stop(self) -> None:
        if not await self._child.stop(self._stop_steps):
            _log.warning("%s did not stop in time and was killed", self.name)


@asynccontextmanager
async def started(processes: Sequence[SupervisedProcess]) -> AsyncIterator[None]:
    """Starts the processes, and stops them when the block is left.

    If one does not start, raises its GatewayError in an exception group.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for process in processes:
                group.create_task(process.start())
        yield
    finally:
        await asyncio.gather(*(process.stop() for process in processes))


@asynccontextmanager
async def restarted(processes: Sequence[SupervisedProcess]) -> AsyncIterator[None]:
    """Restarts the processes whenever they end, until the block is left."""
    async with asyncio.TaskGroup() as group:
        restarts = [group.create_task(process.keep_running()) for process in processes]
        try:
            yield
        finally:
            for restart in restarts:
                restart.cancel()
