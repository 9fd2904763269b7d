"""Ephemeral calls in flight: lost ones, and long ones."""

from __future__ import annotations

import asyncio

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.scripts import LEASE_S, RENEWAL_INTERVAL_S
from forebay_gateway.ephemeral.in_flight import Batch, EphemeralCall, InFlight
from forebay_gateway.rpc.batching import BatchQueue

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
QUEUE = ADD.route.queue
START = 1000.0
LATER = LEASE_S + 1.0
MISSES = 11
"""So many checks in a row find a batch lost, one a second."""
MOST = MISSES - 1


def _never(call: EphemeralCall) -> None:
    """These tests send batches themselves."""
    raise AssertionError


class Sending:
    """Sends batches, each named by the ids of its calls, at given times."""

    def __init__(self) -> None:
        self.in_flight = InFlight()

    def send(self, call_ids: str, at: float, priority: int = 0) -> Batch:
        queue = BatchQueue[EphemeralCall](ADD.route)
        members = [call_pb2.BatchMember(call_id=call_id) for call_id in call_ids.split()]
        calls = [
            EphemeralCall(ADD, priority, queue, one, b"", START + at, _never) for one in members
        ]
        batch = Batch(CallKey(call_ids), calls, START + at)
        self.in_flight.add(batch)
        return batch

    def lost(self, at: float, depth: int = 0) -> list[str]:
        """The lost batches after checks each second for a lease; the queue has the same depth."""
        for before in range(int(LEASE_S), 0, -1):
            self.check(at - before, depth)
        return self.check(at, depth)

    def check(self, at: float, depth: int) -> list[str]:
        return [batch.id for batch in self.in_flight.lost(QUEUE, depth, START + at)]

    def heartbeat(self, call_id: str, at: float, *, running: bool = True) -> bool:
        return self.in_flight.on_heartbeat(call_id, "worker", START + at, running=running)


@pytest.fixture
async def sending() -> Sending:
    return Sending()


async def test_a_batch_that_was_just_sent_is_not_lost(sending: Sending) -> None:
    sending.send("a", at=0.0)
    assert sending.in_flight.stale_queues(START + RENEWAL_INTERVAL_S - 1) == set()
    assert sending.lost(LEASE_S - 1) == []


async def test_a_stale_batch_is_lost_where_its_queue_is_empty(sending: Sending) -> None:
    sending.send("a b", at=0.0)
    assert sending.in_flight.stale_queues(START + LATER) == {QUEUE}
    assert sending.lost(LATER) == ["a b"]
    assert sending.lost(LATER, depth=1) == []


async def test_a_batch_that_was_taken_after_a_long_wait_is_not_lost(sending: Sending) -> None:
    """Its worker has yet to report it, so the queue seems to lack a message."""
    sending.send("a", at=0.0)
    assert sending.lost(LATER, depth=1) == []
    assert sending.check(LATER + 1, depth=0) == []
    assert sending.check(LATER + 2, depth=0) == []
    assert sending.heartbeat("a", at=LATER + 2)
    assert sending.lost(LATER + 9, depth=0) == []


async def test_a_batch_that_nobody_reports_after_it_left_the_queue_is_lost(
    sending: Sending,
) -> None:
    sending.send("a", at=0.0)
    assert sending.lost(LATER, depth=1) == []
    assert [sending.check(LATER + late, depth=0) for late in range(1, MISSES)] == [[]] * MOST
    assert sending.check(LATER + MISSES, depth=0) == ["a"]


@pytest.mark.parametrize("worker_is_known", [True, False])
async def test_checks_begin_again_after_an_outage(sending: Sending, worker_is_known: bool) -> None:
    sending.send("a", at=0.0)
    if worker_is_known:
        sending.heartbeat("a", at=1.0)
    assert sending.lost(LEASE_S - 2) == []
    sending.in_flight.forget_misses()
    again = 3 * LEASE_S
    assert [sending.check(again + late, depth=0) for late in range(1, MISSES)] == [[]] * MOST
    assert sending.check(again + MISSES, depth=0) == ["a"]


async def test_a_gateway_that_stood_still_waits_for_what_workers_reported_meanwhile(
    sending: Sending,
) -> None:
    sending.send("a", at=0.0)
    sending.heartbeat("a", at=1.0)
    assert [sending.check(at, depth=0) for at in (7.0, 7.0 + LEASE_S)] == [[], []]
    assert sending.heartbeat("a", at=7.1 + LEASE_S)
    assert sending.check(8.0 + LEASE_S, depth=0) == []


async def test_the_oldest_stale_batches_are_lost_where_the_queue_has_fewer_messages(
    sending: Sending,
) -> None:
    sending.send("newer", at=1.0)
    sending.send("older much", at=0.0)
    sending.send("young", at=LATER)
    assert sending.lost(LATER + 1, depth=2) == ["older much"]


async def test_a_batch_whose_worker_stopped_its_heartbeats_is_lost_at_any_queue_depth(
    sending: Sending,
) -> None:
    sending.send("a b", at=0.0)
    assert sending.heartbeat("b", at=LATER)
    assert sending.lost(LATER + 1) == []
    assert sending.lost(2 * LATER, depth=100) == ["a b"]


async def test_a_batch_is_lost_where_workers_have_batches_sent_later(sending: Sending) -> None:
    sending.send("a", at=0.0)
    sending.send("urgent", at=0.0, priority=9)
    sending.send("b", at=LATER)
    assert sending.in_flight.touch("b", START + LATER + 1)
    assert sending.lost(LATER + 1, depth=100) == ["a"]


async def test_a_reply_to_one_call_is_a_sign_of_life_of_its_batch(sending: Sending) -> None:
    batch = sending.send("a b", at=0.0)
    assert sending.in_flight.touch("a", START + LATER) is batch.calls["a"]
    assert sending.lost(LATER + 1) == []


async def test_a_batch_is_done_with_its_last_call(sending: Sending) -> None:
    batch = sending.send("a b", at=0.0)
    a, b = batch.calls.values()
    assert sending.in_flight.remove(a) is None
    assert sending.in_flight.batch("a b") is batch
    assert sending.in_flight.remove(b) is batch
    assert sending.in_flight.remove(b) is None
    assert sending.in_flight.batch("a b") is None
    assert list(sending.in_flight) == []


async def test_a_heartbeat_for_an_unknown_call_is_not_accepted(sending: Sending) -> None:
    assert not sending.heartbeat("gone", at=0.0)
    assert sending.in_flight.touch("gone", START) is None


@pytest.mark.parametrize("running", [True, False])
async def test_the_queue_wait_ends_when_a_worker_runs_the_call(
    sending: Sending, running: bool
) -> None:
    (call,) = sending.send("a", at=0.0).calls.values()
    call.queue_wait = asyncio.get_running_loop().call_later(60.0, lambda: None)
    sending.heartbeat("a", at=0.0, running=running)
    assert call.queue_wait.cancelled() == running
    call.queue_wait.cancel()
