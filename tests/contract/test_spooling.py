"""The request spool: stores requests in order, each once, and reads ahead within limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

import pytest

from forebay.deadline import Deadline
from forebay.errors import InvalidRequest
from forebay.v1 import call_pb2
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Operation, Refusal, Refused
from forebay_backends.ledger.operations.calls import cancel
from forebay_backends.ledger.operations.requests import take_requests
from forebay_gateway.admission.admission import CALL_BYTES, Admission, Permit
from forebay_gateway.durable.item_sequence import ItemSequence
from forebay_gateway.durable.ledger_retry import LedgerRetry
from forebay_gateway.durable.request_spool import (
    READ_AHEAD_BYTES,
    READ_AHEAD_REQUESTS,
    RequestSpool,
)
from forebay_gateway.durable.watch import Watch
from forebay_gateway.rpc.incoming import IncomingCall
from forebay_gateway.rpc.options import CallOptions
from tests.contract.records import Record, accepted, running
from tests.unit.samples import method, uncounted

T = TypeVar("T")

MIB = 1 << 20
LIMIT = 64 * MIB


class Source:
    """A caller that sends as fast as it can, and then may raise an error."""

    def __init__(self, *requests: bytes, permit: Permit, error: Exception | None = None) -> None:
        self._requests = requests
        self._permit = permit
        self._error = error
        self.sent = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for request in self._requests:
            self._permit.take(len(request))
            self.sent += 1
            yield request
        if self._error is not None:
            raise self._error


class SlowLedger(Ledger):
    """A ledger that stores nothing until `go_on` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked = asyncio.Event()
        self.go_on = asyncio.Event()

    async def run(self, operation: Operation[T]) -> T:
        await self._wait()
        return await super().run(operation)

    async def run_all(self, operations: Sequence[Operation[T]]) -> list[T]:
        await self._wait()
        return await super().run_all(operations)

    async def _wait(self) -> None:
        self.asked.set()
        await self.go_on.wait()


def spool(
    record: Record,
    ledger: Ledger,
    permit: Permit,
    first: bytes | None,
    source: Source,
    *,
    limit_bytes: int = LIMIT,
    max_message_bytes: int = MIB,
    watch: Watch | None = None,
) -> RequestSpool:
    options = CallOptions(None, 0, detach=False, priority=0, forwarded_metadata=call_pb2.Metadata())
    incoming = IncomingCall(
        *(method("MatMul"), options, Deadline.after(None), first, aiter(source), permit),
        uncounted(),
    )
    return RequestSpool(
        watch or Watch(record.call, ItemSequence()),
        incoming,
        limit_bytes=limit_bytes,
        max_message_bytes=max_message_bytes,
        ledger=ledger,
        ledger_retry=LedgerRetry(),
    )


@pytest.fixture
def admission() -> Admission:
    return Admission(max_calls=10, max_held_bytes=1 << 30)


@pytest.fixture
async def slow(ledger: BlockingLedger, ledger_url: str) -> AsyncIterator[SlowLedger]:
    slow = SlowLedger(ledger_url)
    yield slow
    await slow.close()


async def test_requests_that_come_fast_are_stored_in_order_each_once(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    requests = [f"{number} ".encode() * (number % 97) for number in range(1000)]
    with admission.admit("caller") as permit:
        source = Source(*requests[1:], permit=permit)
        assert await spool(record, aio_ledger, permit, requests[0], source).store() == 1000
        assert admission.bytes.held == CALL_BYTES
    assert record.inputs == requests


async def test_another_rpc_can_repeat_an_interrupted_spool(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    with admission.admit("caller") as permit:
        for end in (3, 5):
            source = Source(*[b"b", b"c", b"d", b"e"][: end - 1], permit=permit)
            assert await spool(record, aio_ledger, permit, b"a", source).store() == end
    assert record.inputs == [b"a", b"b", b"c", b"d", b"e"]


async def test_an_empty_stream_stores_nothing(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    with admission.admit("caller") as permit:
        assert await spool(record, aio_ledger, permit, None, Source(permit=permit)).store() == 0
    assert record.inputs == []


@pytest.mark.parametrize(
    ("size", "sent"),
    [(MIB, READ_AHEAD_BYTES // MIB), (0, READ_AHEAD_REQUESTS)],
    ids=["large", "empty"],
)
async def test_requests_are_read_ahead_up_to_the_limit(
    ledger: BlockingLedger, slow: SlowLedger, admission: Admission, size: int, sent: int
) -> None:
    record = accepted(ledger, receiving=True)
    with admission.admit("caller") as permit:
        source = Source(*[bytes(size)] * 1000, permit=permit)
        storing = asyncio.create_task(spool(record, slow, permit, b"a", source).store())
        await slow.asked.wait()
        for _ in range(2 * READ_AHEAD_REQUESTS):
            await asyncio.sleep(0)  # so that all tasks run until they wait
        assert (source.sent, admission.bytes.held) == (sent, CALL_BYTES + sent * size)
        storing.cancel()
        await asyncio.wait([storing])
        assert admission.bytes.held == CALL_BYTES


async def test_one_request_is_read_at_a_time_where_the_permit_has_no_room_for_two(
    ledger: BlockingLedger, slow: SlowLedger
) -> None:
    record = accepted(ledger, receiving=True)
    with Admission(max_calls=10, max_held_bytes=2 * MIB).admit("caller") as permit:
        source = Source(*[bytes(100)] * 20, permit=permit)
        storing = asyncio.create_task(
            spool(record, slow, permit, b"a", source, max_message_bytes=2 * MIB).store()
        )
        await slow.asked.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert source.sent == 1
        slow.go_on.set()
        assert await storing == 21


async def test_requests_wait_while_a_live_handler_has_a_full_window_to_read(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = running(ledger, live=True, window_bytes=2 * MIB)
    watch = Watch(record.call, ItemSequence())
    with admission.admit("caller") as permit:
        source = Source(*[bytes(MIB // 2)] * 40, permit=permit)
        spooling = spool(record, aio_ledger, permit, b"a", source, watch=watch)
        storing = asyncio.create_task(spooling.store())
        read = 0
        while not storing.done():
            inputs = record.inputs
            assert sum(map(len, inputs[read:])) <= 2 * MIB
            assert source.sent - len(inputs) <= READ_AHEAD_BYTES // (MIB // 2) + 1
            read = len(inputs)
            ledger.run(take_requests(record.call, 1, read, sum(map(len, inputs))))
            watch.request_window_open.set()
            await asyncio.sleep(0.005)
        assert storing.result() == 41


async def test_an_error_of_the_stream_ends_the_spool(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    with admission.admit("caller") as permit:
        source = Source(b"b", permit=permit, error=InvalidRequest("no such chunk"))
        with pytest.raises(InvalidRequest):
            await spool(record, aio_ledger, permit, b"a", source).store()


async def test_requests_over_the_limit_are_refused_and_no_longer_read(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    with admission.admit("caller") as permit:
        source = Source(*[bytes(MIB)] * 100, permit=permit)
        stored = await spool(record, aio_ledger, permit, b"a", source, limit_bytes=2 * MIB).store()
        assert stored == Refused(Refusal.TOO_LARGE)
        assert source.sent < 20
    assert len(record.inputs) == 2


async def test_a_call_that_has_ended_refuses_requests(
    ledger: BlockingLedger, aio_ledger: Ledger, admission: Admission
) -> None:
    record = accepted(ledger, receiving=True)
    ledger.run(cancel(record.call))
    with admission.admit("caller") as permit:
        source = Source(b"b", permit=permit)
        stored = await spool(record, aio_ledger, permit, b"a", source).store()
    assert stored == Refused(State.CANCELLED)
