"""Calls gather only while there is something to wait for, and never for long."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall
from forebay_gateway.rpc.batching import MAX_DELAY_S, MAX_RUN_S, BatchQueue

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
MOST = 8
START = 1000.0


class Site:
    """A batch queue that a test fills and empties at times that it gives."""

    def __init__(self, max_batch: int = MOST) -> None:
        self.queue = BatchQueue(replace(ADD.route, max_batch=max_batch))
        self.calls: list[EphemeralCall] = []

    def call(self, count: int = 1, at: float = 0.0) -> None:
        for _ in range(count):
            member = call_pb2.BatchMember(call_id=str(len(self.calls)))
            self.calls.append(EphemeralCall(ADD, 0, member, START + at))
            self.queue.add(self.calls[-1])

    def take(self, at: float = 0.0, slots: int = 1) -> list[Batch]:
        batches = []
        while calls := self.queue.next_batch(START + at, slots):
            batches.append(Batch(calls[0].id, calls, START + at))
            self.queue.on_batch_sent(batches[-1])
        return batches

    def sizes(self, at: float = 0.0, slots: int = 1) -> list[int]:
        return [len(batch.calls) for batch in self.take(at, slots)]


@pytest.fixture
async def site() -> Site:
    quick = Site()
    quick.queue.record_run_time(0.0)
    return quick


async def test_an_idle_queue_gets_a_call_at_once(site: Site) -> None:
    site.call()
    assert site.sizes() == [1]
    assert site.queue.send_by == inf


async def test_calls_gather_while_a_batch_is_on_its_way_to_the_only_slot(
    site: Site,
) -> None:
    site.call()
    (first,) = site.take()
    site.call(3)
    assert site.sizes() == []
    site.queue.on_batch_done(first)
    assert site.sizes() == [3]


async def test_nobody_gathers_for_long_whatever_is_on_its_way(site: Site) -> None:
    site.call()
    site.take()
    site.call(2, at=0.001)
    assert site.queue.send_by == START + 0.001 + MAX_DELAY_S
    assert site.sizes(at=MAX_DELAY_S) == []
    assert site.sizes(at=0.001 + MAX_DELAY_S) == [2]


async def test_free_slots_get_equal_shares(site: Site) -> None:
    site.call(10)
    assert site.sizes(slots=4) == [3, 3, 2, 2]


async def test_a_batch_is_no_larger_than_its_method_allows(site: Site) -> None:
    site.call(2 * MOST + 1)
    assert site.sizes() == [MOST]
    assert site.sizes(at=MAX_DELAY_S) == [MOST, 1]


async def test_a_batch_holds_little_work(site: Site) -> None:
    for _ in range(100):
        site.queue.record_run_time(MAX_RUN_S / 3)
    site.call(MOST)
    assert site.sizes() == [3]
    for _ in range(100):
        site.queue.record_run_time(10 * MAX_RUN_S)
    assert site.sizes(at=MAX_DELAY_S) == [1] * (MOST - 3)


async def test_calls_go_one_by_one_until_it_is_known_how_long_they_take() -> None:
    site = Site()
    site.call(3)
    assert site.sizes(slots=2) == [1, 1]


async def test_a_queue_without_known_workers_gets_calls_as_one_with_a_slot(
    site: Site,
) -> None:
    site.call(2)
    assert site.sizes(slots=0) == [2]


async def test_methods_that_share_no_messages_wait_for_nothing() -> None:
    site = Site(max_batch=1)
    site.call(3)
    assert site.sizes() == [1, 1, 1]


async def test_those_who_left_are_not_sent(site: Site) -> None:
    site.call()
    site.take()
    site.call(4)
    for left in (1, 3):
        site.calls[left].reply.cancel()
    (batch,) = site.take(at=MAX_DELAY_S)
    assert list(batch.calls) == ["2", "4"]
