"""Calls gather only while there is something to wait for, and never for long."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall
from forebay_gateway.rpc.batching import GATHER_S, WORK_S, BatchQueue

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
MOST = 8
START = 1000.0


class Batchable:
    """A gathering that a test calls and takes from at times that it says."""

    def __init__(self, max_batch: int = MOST) -> None:
        self.gathering = BatchQueue(replace(ADD.route, max_batch=max_batch))
        self.calls: list[EphemeralCall] = []

    def call(self, count: int = 1, at: float = 0.0) -> None:
        for _ in range(count):
            member = call_pb2.BatchMember(call_id=str(len(self.calls)))
            self.calls.append(EphemeralCall(ADD, 0, member, START + at))
            self.gathering.add(self.calls[-1])

    def take(self, at: float = 0.0, slots: int = 1) -> list[Batch]:
        batches = []
        while calls := self.gathering.take(START + at, slots):
            batches.append(Batch(calls[0].id, calls, START + at))
            self.gathering.sent(batches[-1])
        return batches

    def sizes(self, at: float = 0.0, slots: int = 1) -> list[int]:
        return [len(batch.calls) for batch in self.take(at, slots)]


@pytest.fixture
async def gathered() -> Batchable:
    quick = Batchable()
    quick.gathering.ran(0.0)
    return quick


async def test_an_idle_queue_gets_a_call_at_once(gathered: Batchable) -> None:
    gathered.call()
    assert gathered.sizes() == [1]
    assert gathered.gathering.due_at == inf


async def test_calls_gather_while_a_batch_is_on_its_way_to_the_only_slot(
    gathered: Batchable,
) -> None:
    gathered.call()
    (first,) = gathered.take()
    gathered.call(3)
    assert gathered.sizes() == []
    gathered.gathering.over(first)
    assert gathered.sizes() == [3]


async def test_nobody_gathers_for_long_whatever_is_on_its_way(gathered: Batchable) -> None:
    gathered.call()
    gathered.take()
    gathered.call(2, at=0.001)
    assert gathered.gathering.due_at == START + 0.001 + GATHER_S
    assert gathered.sizes(at=GATHER_S) == []
    assert gathered.sizes(at=0.001 + GATHER_S) == [2]


async def test_free_slots_get_equal_shares(gathered: Batchable) -> None:
    gathered.call(10)
    assert gathered.sizes(slots=4) == [3, 3, 2, 2]


async def test_a_batch_is_no_larger_than_its_method_allows(gathered: Batchable) -> None:
    gathered.call(2 * MOST + 1)
    assert gathered.sizes() == [MOST]
    assert gathered.sizes(at=GATHER_S) == [MOST, 1]


async def test_a_batch_holds_little_work(gathered: Batchable) -> None:
    for _ in range(100):
        gathered.gathering.ran(WORK_S / 3)
    gathered.call(MOST)
    assert gathered.sizes() == [3]
    for _ in range(100):
        gathered.gathering.ran(10 * WORK_S)
    assert gathered.sizes(at=GATHER_S) == [1] * (MOST - 3)


async def test_calls_go_one_by_one_until_it_is_known_how_long_they_take() -> None:
    gathered = Batchable()
    gathered.call(3)
    assert gathered.sizes(slots=2) == [1, 1]


async def test_a_queue_without_known_workers_gets_calls_as_one_with_a_slot(
    gathered: Batchable,
) -> None:
    gathered.call(2)
    assert gathered.sizes(slots=0) == [2]


async def test_methods_that_share_no_messages_wait_for_nothing() -> None:
    gathered = Batchable(max_batch=1)
    gathered.call(3)
    assert gathered.sizes() == [1, 1, 1]


async def test_those_who_left_are_not_sent(gathered: Batchable) -> None:
    gathered.call()
    gathered.take()
    gathered.call(4)
    for left in (1, 3):
        gathered.calls[left].reply.cancel()
    (batch,) = gathered.take(at=GATHER_S)
    assert list(batch.calls) == ["2", "4"]
