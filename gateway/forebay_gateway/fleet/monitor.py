"""What this gateway knows of the ledger's clock, of the workers and of the backends' health.

Two loops, once a second: one reads presence and the clock, and asks broker and ledger
whether they answer; one does its share of the repair (`forebay_ledger.reaper`).
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from functools import partial

from forebay.errors import BackendUnavailable
from forebay_backends.aio.periodic import run_periodically
from forebay_backends.broker.dispatcher import Dispatcher
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.errors import mapped_errors
from forebay_backends.ledger.presence import WorkerPresence, consumed_queues, survey
from forebay_backends.reaper import ROUND_S, Reaper

HEALTH_TIMEOUT_S = 2.0
"""A backend that takes longer counts as away, in health; calls wait longer for it."""
_CLOCK_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Health:
    """Whether the backends answer."""

    ledger: bool
    broker: bool

    @property
    def serving(self) -> bool:
        """Whether calls can be accepted."""
        return self.ledger and self.broker


class FleetMonitor:
    """The state of the world outside, at most a round old."""

    def __init__(
        self, ledger: Ledger, dispatcher: Dispatcher, queues: Collection[str], retention_bytes: int
    ) -> None:
        self._ledger = ledger
        self._dispatcher = dispatcher
        self._queues = queues
        self._reaper = Reaper(ledger, dispatcher, retention_bytes)
        self._clock_offset_ms = 0.0
        self._clock_is_known = asyncio.Event()
        self.workers: tuple[WorkerPresence, ...] = ()
        self._slots: dict[str, int] = {}
        self.health = Health(ledger=False, broker=False)

    def consumes(self, queue: str) -> bool:
        """Whether a live worker consumes the queue."""
        return queue in self._slots

    def slots(self, queue: str) -> int:
        """How many calls of the queue live workers run at a time."""
        return self._slots.get(queue, 0)

    async def clock_known(self) -> None:
        """Returns when the ledger has told the time; raises BackendUnavailable after 5 s."""
        if self._clock_is_known.is_set():
            return
        with mapped_errors():
            async with asyncio.timeout(_CLOCK_TIMEOUT_S):
                await self._clock_is_known.wait()

    def ledger_time_ms(self, in_s: float) -> int:
        """So many seconds from now, on the ledger's clock, once that is known."""
        return round((time.monotonic() + in_s) * 1000 + self._clock_offset_ms)

    async def watch_over(self, on_health: Callable[[Health], Awaitable[None]]) -> None:
        """Goes round until cancelled; `on_health` hears of each change."""
        while True:
            try:
                health = await self.round()
            except Exception:  # a fault of ours must not end the gateway
                _log.exception("a look at the backends failed")
                health = Health(ledger=False, broker=False)
            if health != self.health:
                self.health = health
                await on_health(health)
            await asyncio.sleep(ROUND_S * random.uniform(0.8, 1.2))  # noqa: S311 - jitter

    async def reap(self) -> None:
        """Does this gateway's share of the repair until cancelled.

        Beside `watch_over`: what an outage left may take long to repair, and its health is
        not to wait for that.
        """
        await run_periodically(
            ROUND_S, partial(self._reaper.round, self._queues), _log, "the repair"
        )

    async def round(self) -> Health:
        """Looks at everything once."""
        broker, ledger = await asyncio.gather(
            self._answers(self._dispatcher.ping(), "broker"), self._answers(self._look(), "ledger")
        )
        return Health(ledger=ledger, broker=broker)

    async def _answers(self, asked: Awaitable[None], what: str) -> bool:
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT_S):
                await asked
        except (BackendUnavailable, TimeoutError) as error:
            if getattr(self.health, what):
                _log.warning("the %s does not answer: %r", what, error.__cause__ or error)
            return False
        return True

    async def _look(self) -> None:
        self._clock_offset_ms, self.workers = await survey(self._ledger)
        self._clock_is_known.set()
        self._slots = consumed_queues(self.workers)
