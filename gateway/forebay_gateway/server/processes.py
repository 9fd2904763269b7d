"""A gateway as several processes that share its port: Linux spreads connections over them.

They are spawned, never forked, by this process, which runs no gRPC itself. One that ends is
started again; they end with this process, however it dies.

Order of the end: all are told at once, and each drains as a gateway alone does.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from forebay_backends.process.memory import freeze_startup_objects
from forebay_backends.settings import Settings
from forebay_gateway.server.child_process import Child
from forebay_gateway.server.errors import GatewayError
from forebay_gateway.server.gateway import running_gateway
from forebay_gateway.server.port import kept_port

READY = "ready"
"""What a process says to its starter when it serves; else what is wrong with it."""
READY_TIMEOUT_S = 60.0
_STOP_AFTER_DRAIN_S = 10.0
_LEAST_PAUSE_S, _MOST_PAUSE_S = 1.0, 30.0
_STEADY_S = 60.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def running_gateways(settings: Settings) -> AsyncIterator[str]:
    """As `running_gateway`, in as many processes as the settings say.

    Raises GatewayError, too, where one of them can't start.
    """
    if settings.processes == 1:
        async with running_gateway(settings) as address:
            freeze_startup_objects()
            yield address
        return
    with kept_port(settings.listen) as address:
        members = [_Member(number + 1, settings, address) for number in range(settings.processes)]
        try:
            async with asyncio.TaskGroup() as starting:
                for member in members:
                    starting.create_task(member.start())
            async with asyncio.TaskGroup() as group:
                keepers = [group.create_task(member.keep()) for member in members]
                try:
                    yield address
                finally:
                    for keeper in keepers:
                        keeper.cancel()
        finally:
            await asyncio.gather(*(member.stop() for member in members))


def pause_s(before_s: float, lived_s: float) -> float:
    """How long to wait before a process is started again, by the last such pause. Pure."""
    return _LEAST_PAUSE_S if lived_s > _STEADY_S else min(before_s * 2, _MOST_PAUSE_S)


class _Member:
    """One of the processes: `forebay_gateway.member`."""

    def __init__(self, number: int, settings: Settings, address: str) -> None:
        backends = settings.backends()
        self._number = number
        self._stop_s = settings.drain_s + _STOP_AFTER_DRAIN_S
        # Flags may have said these.
        self._child = Child(
            "forebay_gateway.cli.gateway_process",
            str(number),
            env={
                "FOREBAY_LISTEN": address,
                "FOREBAY_LEDGER_URL": backends.ledger_url,
                "FOREBAY_BROKER_URL": backends.broker_url,
                "FOREBAY_PROCESSES": str(settings.processes),
                "FOREBAY_SERVICES": json.dumps(settings.services),
            },
        )

    async def start(self) -> None:
        """Returns when the process serves; raises GatewayError where it can't."""
        await self._child.start()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                problem = await self._child.said(READY)
        except TimeoutError:
            await self.stop()
            problem = f"it was not ready within {READY_TIMEOUT_S:g} s"
        if problem is not None:
            code = await self._child.ended()
            problem = problem or f"it ended with code {code}; the log says why"
            raise GatewayError(f"gateway process {self._number} did not start: {problem}")

    async def keep(self) -> None:
        """Starts the process again whenever it ends, until cancelled."""
        pause = _LEAST_PAUSE_S / 2
        began = time.monotonic()
        while True:
            code = await self._child.ended()
            pause = pause_s(pause, time.monotonic() - began)
            _log.error("gateway process %d ended with code %d; again", self._number, code)
            await asyncio.sleep(pause)
            began = time.monotonic()
            try:
                await self.start()
            except GatewayError as error:
                _log.error("%s; again", error)
            else:
                _log.info("gateway process %d is ready again", self._number)

    async def stop(self) -> None:
        """Lets the process drain."""
        if not await self._child.stop((signal.SIGTERM, self._stop_s)):
            _log.warning("gateway process %d did not end in time, and was ended", self._number)
