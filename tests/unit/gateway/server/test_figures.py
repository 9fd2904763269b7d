"""The gauges of queues and running calls."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.operations.inspection import Backlog
from forebay_backends.ledger.presence import WorkerPresence
from forebay_gateway.admission.queue_limits import QueueLimits
from forebay_gateway.admission.queue_load import Work
from forebay_gateway.fleet.queue_backlogs import QueueBacklog
from forebay_gateway.server.figures import (
    expected_waits,
    plain_queue_figures,
    queue_figures,
    running_calls,
)


@dataclass
class Broker:
    """A broker; one without a depth for the queue is down."""

    depths: dict[str, int]

    async def depth(self, queue: str) -> int:
        if queue not in self.depths:
            raise BackendUnavailable("it is down")
        return self.depths[queue]


@dataclass
class Plain:
    """An application; `slots` is None until its workers have answered."""

    broker: Broker
    queues: list[str]
    slots: dict[str, dict[str, int]] | None = field(default_factory=dict)

    def worker_slots(self, queue: str) -> dict[str, int] | None:
        return None if self.slots is None else self.slots.get(queue, {})


@pytest.mark.parametrize(("application", "label"), [("", "mail"), ("shop", "shop/mail")])
async def test_a_queue_has_its_depth_and_the_slots_of_its_workers(
    application: str, label: str
) -> None:
    plain = Plain(Broker({"mail": 3}), ["mail"], {"mail": {"celery@one": 4, "celery@two": 2}})
    assert await plain_queue_figures(plain, application) == {
        "forebay_queue_calls": {(label,): 3},
        "forebay_slots": {(label,): 6},
    }


async def test_a_queue_without_workers_has_no_slots_and_an_unknown_one_no_figure() -> None:
    plain = Plain(Broker({"mail": 0}), ["mail"])
    assert (await plain_queue_figures(plain, ""))["forebay_slots"] == {("mail",): 0}
    plain.slots = None
    assert (await plain_queue_figures(plain, ""))["forebay_slots"] == {}


async def test_a_broker_that_is_down_has_no_depths() -> None:
    plain = Plain(Broker({}), ["mail"])
    assert (await plain_queue_figures(plain, ""))["forebay_queue_calls"] == {}


class Fleet:
    """Three slots for any queue."""

    def slots(self, queue: str) -> int:
        return 3


def test_a_queue_has_its_calls_the_oldest_wait_in_seconds_and_its_slots() -> None:
    backlogs = {
        "durable": QueueBacklog(1, Backlog(calls=4, oldest_ms=2500)),
        "ephemeral": QueueBacklog(7, Backlog()),
    }
    assert queue_figures(backlogs, Fleet()) == {
        "forebay_queue_calls": {("durable",): 4, ("ephemeral",): 7},
        "forebay_queue_oldest_wait_seconds": {("durable",): 2.5, ("ephemeral",): 0.0},
        "forebay_slots": {("durable",): 3, ("ephemeral",): 3},
    }


def test_running_calls_are_those_of_all_workers_by_method() -> None:
    workers = [
        WorkerPresence(name, ("q",), (), 4, "prefork", "1", running=running)
        for name, running in (("one", {"t.add": 2, "not.ours": 5}), ("other", {"t.add": 1}))
    ]
    methods = {"t.add": "p.S.Add", "t.idle": "p.S.Idle"}
    assert running_calls(workers, methods) == {
        "forebay_calls": {("p.S.Add", "RUNNING"): 3, ("p.S.Idle", "RUNNING"): 0}
    }


def test_the_expected_wait_is_there_where_it_is_known() -> None:
    now = 0.0
    limits = {name: QueueLimits(("mail", "new"), 100, lambda: now) for name in ("", "shop")}
    for second in range(30):
        now = float(second)
        for of_application, slots in (("", 1), ("shop", 2)):
            work = Work(slots, begun=slots * second)  # each slot begins a call a second
            limits[of_application]["mail"].observe(10, {"celery@one": work})
    assert expected_waits(limits) == {
        "forebay_queue_expected_wait_seconds": {("mail",): 10.0, ("shop/mail",): 5.0}
    }
