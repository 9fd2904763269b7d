"""The requests of an RPC: when they have arrived, and how much its caller may send of them."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from forebay_gateway.fronts.native.http2 import STREAM_WINDOW_BYTES
from forebay_gateway.fronts.native.requests import Requests
from tests.faults.raw_http2 import message

LARGE = message(b"x" * 500_000)
FIRST, REST = LARGE[:STREAM_WINDOW_BYTES], LARGE[STREAM_WINDOW_BYTES:]


class Flow:
    """A connection that counts the credit that a caller gets."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.given = 0
        self.window = STREAM_WINDOW_BYTES

    def give_back(self, _: int, size: int) -> None:
        self.given += size

    def set_window(self, _: int, size: int) -> None:
        self.window = size


@pytest.fixture
async def flow() -> Flow:
    return Flow()


@pytest.fixture
async def requests(flow: Flow) -> Requests:
    return Requests(flow, 1, b"identity", 1 << 20)


async def test_a_caller_gets_no_credit_for_a_large_message_until_it_is_read(
    flow: Flow, requests: Requests
) -> None:
    arriving = asyncio.create_task(requests.arrival())
    await asyncio.sleep(0)
    requests.feed(FIRST, ended=False)
    await arriving
    assert (flow.given, flow.window) == (0, STREAM_WINDOW_BYTES)
    reading = asyncio.create_task(requests.read())
    await asyncio.sleep(0)
    assert flow.given == len(FIRST)
    assert flow.window > STREAM_WINDOW_BYTES
    requests.feed(REST, ended=False)
    assert await reading == LARGE[5:]
    assert (flow.given, flow.window) == (len(LARGE), STREAM_WINDOW_BYTES)


@pytest.mark.parametrize(("data", "ended"), [(message(b"a"), False), (b"\0", False), (b"", True)])
async def test_a_message_a_part_of_one_and_the_end_have_arrived(
    requests: Requests, data: bytes, ended: bool
) -> None:
    arriving = asyncio.create_task(requests.arrival())
    await asyncio.sleep(0)
    assert not arriving.done()
    requests.feed(data, ended)
    await arriving
    await requests.arrival()


async def test_waiting_for_an_arrival_may_be_cancelled_and_loses_nothing(
    requests: Requests,
) -> None:
    arriving = asyncio.create_task(requests.arrival())
    await asyncio.sleep(0)
    arriving.cancel()
    await asyncio.wait([arriving])
    requests.feed(message(b"a"), ended=True)
    assert await requests.read() == b"a"
    assert await requests.read() is grpc.aio.EOF


async def test_nothing_arrives_once_it_is_closed(requests: Requests) -> None:
    requests.close()
    with pytest.raises(asyncio.CancelledError):
        await requests.arrival()
