"""Reads the figures of the queues of durable and ephemeral calls, and of those of plain tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_gateway.admission.admission import RETRY_AFTER_S
from forebay_gateway.admission.queue_load import QueueLoad
from forebay_gateway.fleet.monitor import FleetMonitor
from forebay_gateway.fleet.queue_backlogs import read_backlogs
from forebay_gateway.scaling.demand import QueueFigures

if TYPE_CHECKING:  # it imports Celery, which only plain tasks need
    from forebay_gateway.plain.calls import PlainCalls


class Queues(Protocol):
    """The queues of one broker."""

    async def figures(self, queue: str, load: QueueLoad) -> QueueFigures:
        """Reads the figures of a queue; raises BackendUnavailable."""


class LedgerQueues:
    """The queues whose workers announce themselves in the ledger."""

    def __init__(self, ledger: Ledger, broker: Broker, fleet: FleetMonitor) -> None:
        self._ledger = ledger
        self._broker = broker
        self._fleet = fleet

    async def figures(self, queue: str, load: QueueLoad) -> QueueFigures:
        """All gateways' calls: those in the broker, and those that the workers say they hold."""
        if not self._fleet.workers_are_known:
            raise BackendUnavailable(
                "the ledger does not answer, so the gateway has no list of workers",
                retry_after_s=RETRY_AFTER_S,
            )
        backlog = (await read_backlogs(self._ledger, self._broker, [queue]))[queue]
        workers = [worker for worker in self._fleet.workers if queue in worker.queues]
        held = sum(worker.held.get(queue, 0) for worker in workers)
        return QueueFigures(
            waiting=backlog.calls,
            # Workers report every few seconds; this gateway knows of its own calls at once.
            held=max(held, load.in_flight - backlog.calls),
            slots=sum(worker.slots for worker in workers),
            workers=len(workers),
            per_slot_s=load.per_slot_s,
            oldest_wait_s=backlog.durable.oldest_ms / 1000,
        )


class PlainQueues:
    """The queues of an existing application, whose workers answer Celery's `inspect`."""

    def __init__(self, plain: PlainCalls) -> None:
        self._plain = plain

    async def figures(self, queue: str, load: QueueLoad) -> QueueFigures:
        """What the broker has, and this gateway's own calls: the workers report no others."""
        depth = await self._plain.broker.depth(queue)
        slots = self._plain.worker_slots(queue) or {}
        return QueueFigures(
            waiting=depth,
            held=max(0, load.in_flight - depth),
            slots=sum(slots.values()),
            workers=len(slots),
        )
