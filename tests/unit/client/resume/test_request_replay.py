"""Every attempt gets all requests, from the first on."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from forebay.resume.request_replay import AsyncReplay, Replay, RequestWriter


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
def test_each_replay_has_all_requests(requests: Iterator[int]) -> None:
    replay = Replay(requests)
    assert list(islice(replay.replay(), 3)) == [0, 1, 2]
    assert list(replay.replay()) == list(replay.replay()) == [0, 1, 2, 3, 4]


def test_a_running_replay_continues_after_release() -> None:
    replay = Replay(numbers())
    taker = replay.replay()
    assert next(taker) == 0
    replay.release()
    assert list(taker) == [1, 2, 3, 4]


class Request:
    """A request that can be weakly referenced."""


def test_requests_are_not_kept_after_release() -> None:
    sent = Request()
    gone, replay = weakref.ref(sent), Replay(iter([sent]))
    del sent
    assert len(list(replay.replay())) == 1
    replay.release()
    gc.collect()
    assert gone() is None


async def test_requests_are_not_kept_after_release_of_an_async_replay() -> None:
    sent = Request()
    gone, replay = weakref.ref(sent), AsyncReplay(iter([sent]))
    del sent
    assert len([request async for request in replay.replay()]) == 1
    replay.release()
    gc.collect()
    assert gone() is None


def test_every_replay_of_a_broken_stream_raises() -> None:
    replay = Replay(broken())
    for _ in range(3):
        taker = replay.replay()
        assert next(taker) == 0
        with pytest.raises(RuntimeError):
            next(taker)


def test_kept_requests_are_sent_again_while_a_failed_attempt_waits_for_the_next() -> None:
    waits, response = threading.Event(), threading.Event()

    def talk() -> Iterator[int]:
        yield 0
        waits.set()
        response.wait()  # a live call's answer to the first request
        yield 1

    replay = Replay(talk())
    failed, attempt = replay.replay(), replay.replay()
    assert next(failed) == 0
    with ThreadPoolExecutor() as threads:
        threads.submit(next, failed)
        waits.wait()
        try:
            assert threads.submit(next, attempt).result(timeout=10) == 0
        finally:
            response.set()
        assert list(attempt) == [1]


@pytest.mark.parametrize("kind", [async_numbers, numbers, lambda: list(numbers())])
async def test_each_async_replay_has_all_requests(kind) -> None:  # type: ignore[no-untyped-def]
    replay = AsyncReplay[int](kind())
    first = replay.replay()
    assert [await anext(first) for _ in range(3)] == [0, 1, 2]
    for _ in range(2):
        assert [number async for number in replay.replay()] == [0, 1, 2, 3, 4]


async def test_cancelling_an_attempt_does_not_cancel_the_callers_generator() -> None:
    held = asyncio.Event()

    async def requests() -> AsyncIterator[int]:
        yield 0
        await held.wait()
        yield 1

    replay = AsyncReplay(requests())
    first = replay.replay()
    assert await anext(first) == 0
    waiting = asyncio.ensure_future(anext(first))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    held.set()
    assert [number async for number in replay.replay()] == [0, 1]


async def test_every_async_replay_of_a_broken_stream_raises() -> None:
    replay = AsyncReplay(broken())
    for _ in range(3):
        taker = replay.replay()
        assert await anext(taker) == 0
        with pytest.raises(RuntimeError):
            await anext(taker)


@pytest.mark.parametrize("is_iterator", [False, True])
async def test_a_stream_that_cancels_itself_has_broken(*, is_iterator: bool) -> None:
    class Cancelled:
        def __iter__(self) -> Iterator[int]:
            yield 0
            raise asyncio.CancelledError

    replay = AsyncReplay(iter(Cancelled()) if is_iterator else Cancelled())
    for _ in range(3):
        taker = replay.replay()
        assert await anext(taker) == 0
        with pytest.raises(asyncio.CancelledError):
            await anext(taker)
        assert replay.has_raised


async def test_a_writer_yields_what_was_written_until_its_end() -> None:
    writer = RequestWriter()
    writer.write(1)
    writer.write(None)
    writer.end()
    writer.end()
    async with asyncio.timeout(10):
        assert [request async for request in writer] == [1, None]
