"""The gauges of the queues of plain tasks."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from forebay.errors import BackendUnavailable
from forebay_gateway.server.figures import plain_queue_figures


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
