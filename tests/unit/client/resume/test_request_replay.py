"""Requests that are taken again from the first on, whoever took some before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice

import pytest

from forebay.resume.request_replay import AsyncReplay, Replay


def numbers() -> Iterator[int]:
    yield from range(5)


def broken() -> Iterator[int]:
    yield 0
    raise RuntimeError("no more")


async def async_numbers() -> AsyncIterator[int]:
    for number in range(5):
        await asyncio.sleep(0)
        yield number


@pytest.mark.parametrize("requests", [numbers(), list(numbers())])
def test_requests_are_all_there_again(requests: Iterator[int]) -> None:
    replay = Replay(requests)
    assert list(islice(replay.again(), 3)) == [0, 1, 2]
    assert list(replay.again()) == list(replay.again()) == [0, 1, 2, 3, 4]


def test_what_was_released_is_still_sent_by_whoever_is_at_it() -> None:
    replay = Replay(numbers())
    taker = replay.again()
    assert next(taker) == 0
    replay.release()
    assert list(taker) == [1, 2, 3, 4]


def test_a_stream_that_broke_is_broken_for_every_attempt() -> None:
    replay = Replay(broken())
    for _ in range(3):
        taker = replay.again()
        assert next(taker) == 0
        with pytest.raises(RuntimeError):
            next(taker)


@pytest.mark.parametrize("kind", [async_numbers, numbers, lambda: list(numbers())])
async def test_async_requests_are_all_there_again(kind) -> None:  # type: ignore[no-untyped-def]
    replay = AsyncReplay[int](kind())
    first = replay.again()
    assert [await anext(first) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        assert [number async for number in replay.again()] == [0, 1, 2, 3, 4]


async def test_the_end_of_an_attempt_is_not_the_end_of_the_callers_generator() -> None:
    held = asyncio.Event()

    async def requests() -> AsyncIterator[int]:
        yield 0
        await held.wait()
        yield 1

    replay = AsyncReplay(requests())
    first = replay.again()
    assert await anext(first) == 0
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.set()
    assert [number async for number in replay.again()] == [0, 1]


async def test_an_async_stream_that_broke_is_broken_for_every_attempt() -> None:
    replay = AsyncReplay(broken())
    for _ in range(3):
        taker = replay.again()
        assert await anext(taker) == 0
        with pytest.raises(RuntimeError):
            await anext(taker)
