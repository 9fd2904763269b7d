"""Checks periodically whether the backends answer, and reports changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.aio.periodic import run_periodically

HEALTH_CHECK_INTERVAL_S = 1.0
HEALTH_TIMEOUT_S = 2.0
"""A backend that takes longer is unhealthy. Calls wait longer than this for a backend."""

_log = logging.getLogger(__name__)


class HealthCheck:
    """Probes backends, by name. A probe raises BackendUnavailable if its backend is unavailable.

    All backends count as unhealthy before the first check.
    """

    def __init__(self, probes: Mapping[str, Callable[[], Awaitable[None]]]) -> None:
        self._probes: dict[str, Callable[[], Awaitable[None]]] = {}
        self._healthy: dict[str, bool] = {}
        self._outages: dict[str, OutageLog] = {}
        self._reported: bool | None = None
        for backend, probe in probes.items():
            self.add(backend, probe)

    def add(self, backend: str, probe: Callable[[], Awaitable[None]]) -> None:
        """Adds a backend before `run`."""
        self._probes[backend] = probe
        self._healthy[backend] = False
        self._outages[backend] = _outage_log(backend)

    @property
    def is_healthy(self) -> bool:
        """Whether all backends answered the last check."""
        return all(self._healthy.values())

    def answers(self, backend: str) -> bool:
        """Whether the backend answered the last check."""
        return self._healthy[backend]

    async def run(self, on_change: Callable[[bool], Awaitable[None]]) -> None:
        """Checks until cancelled; `on_change` gets `is_healthy` at first and at each change."""

        async def check_and_report() -> None:
            await self.check()
            if self.is_healthy != self._reported:
                await on_change(self.is_healthy)
                self._reported = self.is_healthy

        await run_periodically(HEALTH_CHECK_INTERVAL_S, check_and_report, _log, "the health check")

    async def check(self) -> None:
        """Probes all backends, concurrently; those with the same probe, once."""
        probes = list(dict.fromkeys(self._probes.values()))
        errors = dict(zip(probes, await asyncio.gather(*map(_error, probes)), strict=True))
        self._healthy = {
            backend: self._answers(backend, errors[probe])
            for backend, probe in self._probes.items()
        }

    def _answers(self, backend: str, error: Exception | None) -> bool:
        """Whether there was no error; logs outages."""
        if error is None:
            self._outages[backend].succeeded()
        elif isinstance(error, BackendUnavailable | TimeoutError):
            self._outages[backend].failed(error)
        else:  # a bug must not end the gateway
            _log.error("probing the %s failed", backend, exc_info=error)
        return error is None


async def _error(probe: Callable[[], Awaitable[None]]) -> Exception | None:
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT_S):
            await probe()
    except Exception as error:
        return error
    return None


def _outage_log(backend: str) -> OutageLog:
    return OutageLog(_log, f"the {backend} does not answer", f"the {backend} answers again")
