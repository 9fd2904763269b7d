"""Monitors the live workers, the ledger's clock and the health of the backends.

Two loops run once a second. The health check reads workers and clock from the ledger, and pings
the broker. The reaper does this gateway's share of the repair (`forebay_backends.reaper`); it has a
loop of its own, because a repair after an outage may take long.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Collection
from functools import partial

from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.errors import mapped_errors
from forebay_backends.ledger.presence import WorkerPresence, consumed_queues, survey
from forebay_backends.reaper import REAP_INTERVAL_S, Reaper, RepairCounts
from forebay_gateway.fleet.health_check import HEALTH_TIMEOUT_S, HealthCheck

_CLOCK_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class FleetMonitor:
    """The workers and the ledger's clock at the last health check; `health.run` repeats the
    check.
    """

    def __init__(
        self,
        ledger: Ledger,
        broker: Broker,
        queues: Collection[str],
        retention_bytes: int,
        counts: RepairCounts | None = None,
    ) -> None:
        self._ledger = ledger
        self._queues = queues
        self._reaper = Reaper(ledger, broker, retention_bytes, counts)
        self._clock_offset_ms = 0.0
        self._clock_is_known = asyncio.Event()
        self.workers: tuple[WorkerPresence, ...] = ()
        self._slots: dict[str, int] = {}
        # Reading the ledger shows that its server takes writes, too.
        ping = self._read_ledger if broker.is_ledger else broker.ping
        self.health = HealthCheck({"ledger": self._read_ledger, "broker": ping})

    @property
    def workers_are_known(self) -> bool:
        """Whether the ledger answered the last health check, so that `workers` is up to date."""
        return self.health.answers("ledger")

    def consumes(self, queue: str) -> bool:
        """Whether a live worker consumes the queue."""
        return queue in self._slots

    def slots(self, queue: str) -> int:
        """How many calls of the queue the live workers run at a time."""
        return self._slots.get(queue, 0)

    async def clock_known(self) -> None:
        """Returns when the ledger's clock has been read; raises BackendUnavailable after 5 s."""
        if self._clock_is_known.is_set():
            return
        with mapped_errors():
            async with asyncio.timeout(_CLOCK_TIMEOUT_S):
                await self._clock_is_known.wait()

    async def refresh(self) -> None:
        """Reads the workers now; raises BackendUnavailable."""
        with mapped_errors():
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await self._read_ledger()

    def ledger_time_ms(self, in_s: float) -> int:
        """The time `in_s` seconds from now on the ledger's clock, once that is known."""
        return round((time.monotonic() + in_s) * 1000 + self._clock_offset_ms)

    async def reap(self) -> None:
        """Repeats this gateway's share of the ledger's repair until cancelled."""
        repair = partial(self._reaper.repair, self._queues)
        await run_periodically(REAP_INTERVAL_S, repair, _log, "the repair")

    async def _read_ledger(self) -> None:
        self._clock_offset_ms, self.workers = await survey(self._ledger)
        self._clock_is_known.set()
        self._slots = consumed_queues(self.workers)
