"""Ephemeral calls on their way: what is lost, and what only takes long."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from forebay.compute.v1 import compute_pb2
from forebay.routes import read_methods
from forebay.v1 import call_pb2
from forebay_gateway.sent import SentCall, SentCalls
from forebay_ledger.scripts import LEASE_S

ADD = read_methods(compute_pb2.DESCRIPTOR.services_by_name.values())[0]
QUEUE = ADD.route.queue
START = 1000.0
LATER = LEASE_S + 1.0


class Sending:
    """Calls that are sent at times that a test says."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.calls = SentCalls()

    def send(self, call_id: str, at: float, priority: int = 0) -> SentCall:
        call = SentCall(ADD, priority, call_pb2.BatchMember(call_id=call_id), START + at)
        self._stack.enter_context(self.calls.waiting(call))
        return call

    def lost(self, at: float, depth: int = 0) -> list[str]:
        return [call.id for call in self.calls.lost(QUEUE, depth, START + at)]


@pytest.fixture
async def sending() -> Sending:
    return Sending(ExitStack())


async def test_a_call_that_was_just_sent_is_not_lost(sending: Sending) -> None:
    sending.send("a", at=0.0)
    assert sending.calls.silent_queues(START + LEASE_S - 1) == set()
    assert sending.lost(LEASE_S - 1) == []


async def test_a_silent_call_is_lost_where_its_queue_is_empty(sending: Sending) -> None:
    sending.send("a", at=0.0)
    assert sending.calls.silent_queues(START + LATER) == {QUEUE}
    assert sending.lost(LATER) == ["a"]
    assert sending.lost(LATER, depth=1) == []


async def test_of_silent_calls_the_oldest_are_lost_where_the_queue_is_too_short(
    sending: Sending,
) -> None:
    sending.send("newer", at=1.0)
    sending.send("older", at=0.0)
    sending.send("young", at=LATER)
    assert sending.lost(LATER + 1, depth=2) == ["older"]


async def test_a_call_whose_worker_fell_silent_is_lost_whatever_the_queue_holds(
    sending: Sending,
) -> None:
    sending.send("a", at=0.0)
    assert sending.calls.held("a", "worker", now=START + LATER, running=True)
    assert sending.lost(LATER + 1) == []
    assert sending.lost(2 * LATER, depth=100) == ["a"]


async def test_a_call_that_later_ones_overtook_is_lost(sending: Sending) -> None:
    sending.send("a", at=0.0)
    sending.send("urgent", at=0.0, priority=9)
    later = sending.send("b", at=LATER)
    assert sending.calls.answered(call_pb2.BatchMemberReply(call_id="b"), now=START + LATER + 1)
    assert later.reply.done()
    assert sending.lost(LATER + 1, depth=100) == ["a"]


async def test_one_that_is_sent_again_is_waited_for_anew(sending: Sending) -> None:
    call = sending.send("a", at=0.0)
    sending.calls.held("a", "worker", now=START + 1.0, running=True)
    call.again(now=START + LATER)
    assert (call.attempt, call.worker) == (2, None)
    assert sending.lost(LATER + 1) == []


async def test_words_about_calls_that_nobody_waits_for_say_so(sending: Sending) -> None:
    assert not sending.calls.held("gone", "worker", now=START + 0.0, running=True)
    assert not sending.calls.answered(call_pb2.BatchMemberReply(call_id="gone"), now=START + 0.0)


@pytest.mark.parametrize("running", [True, False])
async def test_the_wait_for_a_worker_ends_when_one_runs_the_call(
    sending: Sending, running: bool
) -> None:
    call = sending.send("a", at=0.0)
    async with asyncio.timeout(60.0) as call.timeout:
        await asyncio.sleep(0)
        sending.calls.held("a", "worker", now=START, running=running)
        assert (call.timeout.when() is None) == running
