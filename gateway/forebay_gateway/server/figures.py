"""The gauges of a gateway, read at each scrape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.metrics.registry import Figures, Labels
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.fleet.queue_backlogs import QueueBacklog


class _Fleet(Protocol):
    def slots(self, queue: str) -> int: ...


class _Broker(Protocol):
    async def depth(self, queue: str) -> int: ...


class _Plain(Protocol):
    queues: list[str]

    @property
    def broker(self) -> _Broker: ...

    def worker_slots(self, queue: str) -> dict[str, int] | None: ...


def queue_label(application: str, queue: str) -> str:
    """Names the application, too: brokers of several applications may have queues of one name."""
    return f"{application}/{queue}" if application else queue


def expected_waits(limits: Mapping[str, QueueLimits]) -> Figures:
    """How long the next call of each queue would wait, where that is known."""
    waits = {
        (queue_label(application, name),): queues[name].wait_s
        for application, queues in limits.items()
        for name in queues.names
    }
    known: dict[Labels, float] = {
        labels: wait_s for labels, wait_s in waits.items() if wait_s is not None
    }
    return {"forebay_queue_expected_wait_seconds": known}


def queue_figures(backlogs: Mapping[str, QueueBacklog], fleet: _Fleet) -> Figures:
    """The calls that wait in queues of durable and ephemeral methods, and the queues' slots."""
    return {
        "forebay_queue_calls": {(name,): found.calls for name, found in backlogs.items()},
        "forebay_queue_oldest_wait_seconds": {
            (name,): found.durable.oldest_ms / 1000 for name, found in backlogs.items()
        },
        "forebay_slots": {(name,): fleet.slots(name) for name in backlogs},
    }


def running_calls(workers: Iterable[WorkerPresence], method_of_task: Mapping[str, str]) -> Figures:
    """The calls that the live workers run, by their last announcements."""
    running = dict.fromkeys(method_of_task.values(), 0)
    for worker in workers:
        for task, count in worker.running.items():
            method = method_of_task.get(task)
            if method is not None:
                running[method] += count
    return {"forebay_calls": {(method, "RUNNING"): count for method, count in running.items()}}


async def plain_queue_figures(plain: _Plain, application: str) -> Figures:
    """The calls that wait in queues of an application's plain tasks; the slots, once known."""
    depths: dict[Labels, float] = {}
    slots: dict[Labels, float] = {}
    for queue in plain.queues:
        labels = (queue_label(application, queue),)
        found = plain.worker_slots(queue)
        if found is not None:
            slots[labels] = sum(found.values())
        try:
            depths[labels] = await plain.broker.depth(queue)
        except BackendUnavailable:
            break
    return {"forebay_queue_calls": depths, "forebay_slots": slots}
