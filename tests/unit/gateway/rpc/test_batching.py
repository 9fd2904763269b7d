"""Batching: calls wait for each other only while all slots are busy, and not for long."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from math import inf

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall
from forebay_gateway.rpc.batching import MAX_DELAY_S, MAX_RUN_S, Batcher, BatchQueue

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
MOST = 8
START = 1000.0


def _never(call: EphemeralCall) -> None:
    """These tests send batches themselves."""
    raise AssertionError


class FakeClockQueue:
    """A batch queue on a clock that the test sets."""

    def __init__(self, max_batch: int = MOST) -> None:
        self.queue = BatchQueue(replace(ADD.route, max_batch=max_batch))
        self.calls: list[EphemeralCall] = []

    def call(self, count: int = 1, at: float = 0.0, owner: str = "") -> None:
        for _ in range(count):
            member = call_pb2.BatchMember(call_id=str(len(self.calls)))
            self.calls.append(
                EphemeralCall(ADD, 0, self.queue, member, b"", START + at, _never, owner=owner)
            )
            self.queue.add(self.calls[-1])

    def take(self, at: float = 0.0, slots: int = 1) -> list[Batch]:
        batches = []
        while calls := self.queue.next_batch(START + at, slots):
            batches.append(Batch(calls[0].key, calls, START + at))
            self.queue.on_batch_sent(batches[-1])
        return batches

    def sizes(self, at: float = 0.0, slots: int = 1) -> list[int]:
        return [len(batch.calls) for batch in self.take(at, slots)]


@pytest.fixture
async def fake_queue() -> FakeClockQueue:
    fake_queue = FakeClockQueue()
    fake_queue.queue.record_run_time(0.0)
    return fake_queue


async def test_a_call_to_an_idle_queue_is_sent_at_once(fake_queue: FakeClockQueue) -> None:
    fake_queue.call()
    assert fake_queue.sizes() == [1]
    assert fake_queue.queue.send_by == inf


async def test_calls_of_two_owners_never_share_a_batch(fake_queue: FakeClockQueue) -> None:
    fake_queue.call()
    (first,) = fake_queue.take()
    for owner in ("acme", "umbrella", "acme", ""):
        fake_queue.call(owner=owner)
    fake_queue.queue.on_batch_done(first)
    batches = fake_queue.take(slots=9)
    assert {call.owner for batch in batches for call in batch.calls.values()} == {
        "acme",
        "umbrella",
        "",
    }
    assert all(len({call.owner for call in batch.calls.values()}) == 1 for batch in batches)


async def test_owners_take_turns_and_share_the_slots(fake_queue: FakeClockQueue) -> None:
    fake_queue.call(2 * MOST, owner="acme")
    fake_queue.call(owner="umbrella")
    (first,) = fake_queue.take()
    assert first.key.owner == "acme"
    fake_queue.queue.on_batch_done(first)
    (second,) = fake_queue.take()
    assert (second.key.owner, len(second.calls)) == ("umbrella", 1)
    fake_queue.queue.on_batch_done(second)
    assert fake_queue.sizes() == [MOST]


async def test_while_all_slots_are_busy_only_the_owner_whose_call_is_due_gets_a_batch(
    fake_queue: FakeClockQueue,
) -> None:
    fake_queue.call()
    fake_queue.take()
    fake_queue.call(owner="umbrella")
    fake_queue.call(owner="acme", at=MAX_DELAY_S / 2)
    assert fake_queue.queue.send_by == START + MAX_DELAY_S
    (batch,) = fake_queue.take(at=MAX_DELAY_S)
    assert batch.key.owner == "umbrella"
    assert fake_queue.queue.send_by == START + 1.5 * MAX_DELAY_S


async def test_calls_behind_another_owners_are_sent_within_another_delay(
    fake_queue: FakeClockQueue,
) -> None:
    fake_queue.call()
    fake_queue.take()
    fake_queue.call(MOST + 1, owner="acme")
    fake_queue.call(owner="umbrella", at=MAX_DELAY_S / 2)
    assert fake_queue.sizes(at=MAX_DELAY_S) == [MOST]
    assert fake_queue.queue.send_by == START + 1.5 * MAX_DELAY_S
    assert fake_queue.sizes(at=1.5 * MAX_DELAY_S) == [1, 1]
    assert fake_queue.queue.send_by == inf


async def test_an_owner_without_calls_takes_no_memory(fake_queue: FakeClockQueue) -> None:
    for number in range(100):
        fake_queue.call(owner=f"tenant-{number}")
        fake_queue.calls[-1].reply.cancel()
        fake_queue.take()
    assert not fake_queue.queue._waiting


async def test_calls_gather_while_a_batch_for_the_only_slot_is_in_flight(
    fake_queue: FakeClockQueue,
) -> None:
    fake_queue.call()
    (first,) = fake_queue.take()
    fake_queue.call(3)
    assert fake_queue.sizes() == []
    fake_queue.queue.on_batch_done(first)
    assert fake_queue.sizes() == [3]


async def test_a_call_gathers_no_longer_than_the_maximum_delay(fake_queue: FakeClockQueue) -> None:
    fake_queue.call()
    fake_queue.take()
    fake_queue.call(2, at=0.001)
    assert fake_queue.queue.send_by == START + 0.001 + MAX_DELAY_S
    assert fake_queue.sizes(at=MAX_DELAY_S) == []
    assert fake_queue.sizes(at=0.001 + MAX_DELAY_S) == [2]


async def test_free_slots_get_equal_shares(fake_queue: FakeClockQueue) -> None:
    fake_queue.call(10)
    assert fake_queue.sizes(slots=4) == [3, 3, 2, 2]


async def test_a_batch_is_no_larger_than_its_method_allows(fake_queue: FakeClockQueue) -> None:
    fake_queue.call(2 * MOST + 1)
    assert fake_queue.sizes() == [MOST]
    assert fake_queue.sizes(at=MAX_DELAY_S) == [MOST, 1]


async def test_a_batch_runs_no_longer_than_the_maximum_run_time(fake_queue: FakeClockQueue) -> None:
    for _ in range(100):
        fake_queue.queue.record_run_time(MAX_RUN_S / 3)
    fake_queue.call(MOST)
    assert fake_queue.sizes() == [3]
    for _ in range(100):
        fake_queue.queue.record_run_time(10 * MAX_RUN_S)
    assert fake_queue.sizes(at=MAX_DELAY_S) == [1] * (MOST - 3)


async def test_the_latest_run_time_has_a_weight_of_a_fifth() -> None:
    fake_queue = FakeClockQueue()
    for run_s in (MAX_RUN_S / 2, 0.0, 0.0):  # on average 0.5, 0.4, 0.32 of the maximum
        fake_queue.queue.record_run_time(run_s)
    fake_queue.call(2 * MOST)
    assert fake_queue.sizes() == [3]
    fake_queue.queue.record_run_time(MAX_RUN_S)  # 0.456
    assert fake_queue.sizes(at=MAX_DELAY_S)[0] == 2


async def test_calls_are_sent_alone_until_a_run_time_was_measured() -> None:
    fake_queue = FakeClockQueue()
    fake_queue.call(3)
    assert fake_queue.sizes(slots=2) == [1, 1]


async def test_a_queue_without_live_workers_is_treated_as_one_slot(
    fake_queue: FakeClockQueue,
) -> None:
    fake_queue.call(2)
    assert fake_queue.sizes(slots=0) == [2]


async def test_calls_of_methods_without_batching_never_wait() -> None:
    fake_queue = FakeClockQueue(max_batch=1)
    fake_queue.call(3)
    assert fake_queue.sizes() == [1, 1, 1]


async def test_calls_whose_callers_disconnected_are_not_sent(fake_queue: FakeClockQueue) -> None:
    fake_queue.call()
    fake_queue.take()
    fake_queue.call(4)
    for disconnected in (1, 3):
        fake_queue.calls[disconnected].reply.cancel()
    (batch,) = fake_queue.take(at=MAX_DELAY_S)
    assert list(batch.calls) == ["2", "4"]


BATCHED = replace(ADD, route=replace(ADD.route, max_batch=MOST))


class Sender:
    """Sends the calls of a batcher, each queue's batches until `done`."""

    def __init__(self) -> None:
        self.batcher = Batcher[EphemeralCall](lambda queue: 1, self._send)
        self.sent: list[list[str]] = []
        self.was_sent = asyncio.Event()

    def submit(self, name: str, priority: int = 0) -> None:
        member = call_pb2.BatchMember(call_id=name)
        queue = self.batcher.queue_of(BATCHED, priority)
        call = EphemeralCall(BATCHED, priority, queue, member, b"", time.monotonic(), _never)
        self.batcher.submit(queue, call)

    def done(self, batch: str) -> None:
        self.batcher.on_batch_done(self.batcher.queue_of(ADD, 0), batch)

    def _send(self, queue: BatchQueue[EphemeralCall], calls: list[EphemeralCall]) -> None:
        queue.record_run_time(0.0)
        queue.on_batch_sent(calls[0].id)
        self.sent.append([call.id for call in calls])
        self.was_sent.set()


async def test_calls_of_one_method_and_priority_share_a_queue() -> None:
    batcher = Sender().batcher
    assert batcher.queue_of(ADD, 0) is batcher.queue_of(ADD, 0)
    assert batcher.queue_of(ADD, 0) is not batcher.queue_of(ADD, 1)
    assert batcher.queue_of(ADD, 0) is not batcher.queue_of(replace(ADD, name="pkg.S.Other"), 0)


async def test_calls_that_wait_are_sent_when_a_batch_is_done() -> None:
    sender = Sender()
    for name in "abc":
        sender.submit(name)
    await asyncio.sleep(0)
    assert sender.sent == [["a"]]
    sender.submit("urgent", priority=1)
    await asyncio.sleep(0)
    assert sender.sent == [["a"], ["urgent"]]
    sender.done("a")
    assert sender.sent[2:] == [["b", "c"]]


async def test_calls_of_one_turn_of_the_event_loop_are_sent_together() -> None:
    sender = Sender()
    sender.batcher.queue_of(BATCHED, 0).record_run_time(0.0)
    for turn in (["a", "b"], ["c"]):
        for name in turn:
            sender.submit(name)
        await asyncio.sleep(0)
        assert sender.sent == [["a", "b"]]
    sender.done("a")
    assert sender.sent == [["a", "b"], ["c"]]


async def test_calls_that_wait_are_sent_after_the_maximum_delay() -> None:
    sender = Sender()
    for name in "abc":
        sender.submit(name)
    await asyncio.sleep(0)
    for batch in (["b", "c"], ["d"]):
        sender.was_sent.clear()
        await asyncio.wait_for(sender.was_sent.wait(), 20.0)
        assert sender.sent[-1] == batch
        sender.submit("d")
