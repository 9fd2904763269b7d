"""The stored requests of a call, as a coroutine reads them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from forebay_workers.coroutines.requests import StoredRequests
from forebay_workers.handler.interrupted import Stopped
from tests.unit.samples import context

REQUESTS = [bytes([number]) for number in range(10)]


class Stored:
    """A ledger that answers when it is let."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = requests
        self.reads: list[int] = []

    async def inputs(self, call: object, first: int, count: int) -> list[bytes]:
        """A page."""
        self.reads.append(first)
        await asyncio.sleep(0)
        return self._requests[first : first + count]


async def read_all(requests: StoredRequests) -> list[bytes]:
    found = []
    while (request := await requests.next()) is not None:
        found.append(request)
    return found


def stored(ledger: Any, count: int = len(REQUESTS)) -> StoredRequests:
    call: Any = context()
    return StoredRequests(ledger, call, count)


async def test_requests_are_read_in_order_a_page_ahead() -> None:
    ledger = Stored(REQUESTS)
    requests = stored(ledger)
    assert await requests.next() == REQUESTS[0]
    await asyncio.sleep(0)
    assert ledger.reads == [0, 4]
    assert [REQUESTS[0], *await read_all(requests)] == REQUESTS
    assert ledger.reads == [0, 4, 8]


async def test_a_read_that_is_cancelled_loses_nothing() -> None:
    requests = stored(Stored(REQUESTS))
    reading = asyncio.create_task(requests.next())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.wait([reading])
    assert await read_all(requests) == REQUESTS


async def test_requests_that_are_gone_mean_that_the_call_has_ended() -> None:
    with pytest.raises(Stopped):
        await read_all(stored(Stored(REQUESTS[:4])))


async def test_close_ends_the_page_that_is_read_ahead() -> None:
    requests = stored(Stored(REQUESTS))
    await requests.next()
    requests.close()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1
