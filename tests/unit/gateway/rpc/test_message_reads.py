"""Reads of request messages: they wait for room, reserve it, and release it."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from forebay.errors import QueueFull
from forebay_gateway.admission import read_room
from forebay_gateway.admission.fair_share import FairShare
from forebay_gateway.admission.read_room import ReadRoom
from forebay_gateway.rpc import message_reads
from forebay_gateway.rpc.message_reads import MessageReads

MESSAGE = 10


class Stream:
    """The read side of an RPC, whose messages a test sends."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self.is_read = asyncio.Event()
        self.arrives = asyncio.Event()
        self.arrives.set()

    async def arrival(self) -> None:
        await self.arrives.wait()

    async def read(self) -> Any:
        self.is_read.set()
        return await self._messages.get()

    def read_now(self) -> Any:
        return None if self._messages.empty() else self._messages.get_nowait()

    def send(self, message: object) -> None:
        self._messages.put_nowait(message)


class Site:
    """Reads with room for `limit` bytes."""

    def __init__(self, limit: int, wait_s: float = 30.0) -> None:
        self.held = FairShare(limit)
        self.reads = MessageReads(ReadRoom(self.held, MESSAGE), self._full, wait_s)

    def start(self, caller: str = "a") -> tuple[Stream, asyncio.Task[Any]]:
        stream: Any = Stream()
        count = lambda size: self.held.add(caller, size)  # noqa: E731
        return stream, asyncio.create_task(self.reads.read(stream, caller, count))

    def read_now(self, *messages: bytes, caller: str = "a") -> bytes | None:
        """Reads from a stream that has these messages."""
        stream: Any = Stream()
        for message in messages:
            stream.send(message)
        return self.reads.read_now(stream, caller, lambda size: self.held.add(caller, size))

    def _full(self, caller: str, size: int) -> QueueFull:
        return QueueFull(f"{caller} has no room for {size}", retry_after_s=1.0, quota="bytes held")


async def test_a_read_takes_room_for_the_largest_message_and_keeps_that_of_its_own() -> None:
    site = Site(limit=100)
    stream, reading = site.start()
    await stream.is_read.wait()
    assert site.held.held == MESSAGE
    stream.send(b"abc")
    assert await reading == b"abc"
    assert site.held.held == 3


async def test_a_read_takes_no_room_before_its_message_begins_to_arrive() -> None:
    site = Site(limit=15)
    first, reading = site.start()
    first.arrives.clear()
    second, other = site.start()
    second.send(b"abc")
    assert await other == b"abc"
    assert site.held.held == 3
    first.arrives.set()
    await first.is_read.wait()
    assert site.held.held == 3 + MESSAGE
    first.send(grpc.aio.EOF)
    await reading


async def test_a_message_that_is_here_is_counted_and_none_is_no_message() -> None:
    site = Site(limit=100)
    assert site.read_now(b"abc") == b"abc"
    assert site.held.held == 3
    assert site.read_now() is None
    assert site.held.held == 3


async def test_a_message_that_is_here_waits_where_a_read_would_wait_for_room() -> None:
    site = Site(limit=15)
    first, reading = site.start()
    await first.is_read.wait()
    assert site.read_now(b"abc") is None, "the largest message would not fit"
    (_, waiting) = site.start()
    await asyncio.sleep(0)
    first.send(b"")
    await reading
    assert site.read_now(b"abc") is None, "the other read of the caller is next"
    waiting.cancel()
    await asyncio.wait([waiting])
    assert site.read_now(b"abc") == b"abc"


async def test_the_end_of_a_stream_and_a_cancelled_read_keep_no_room() -> None:
    site = Site(limit=100)
    stream, reading = site.start()
    stream.send(grpc.aio.EOF)
    assert await reading is grpc.aio.EOF
    stream, reading = site.start()
    await stream.is_read.wait()
    reading.cancel()
    await asyncio.wait([reading])
    assert site.held.held == 0


async def test_a_read_without_room_waits_for_another_to_end_and_a_cancelled_one_for_none() -> None:
    site = Site(limit=15)
    first, reading = site.start()
    await first.is_read.wait()
    (second, waiting), (_, cancelled), (third, last) = site.start(), site.start(), site.start()
    await asyncio.sleep(0)
    assert not second.is_read.is_set()
    cancelled.cancel()
    first.send(grpc.aio.EOF)
    await reading
    await second.is_read.wait()
    assert not third.is_read.is_set()
    second.send(grpc.aio.EOF)
    third.send(grpc.aio.EOF)
    assert await waiting is await last is grpc.aio.EOF
    assert site.held.held == 0


async def test_a_read_is_refused_where_calls_hold_the_room_and_not_other_reads() -> None:
    site = Site(limit=15)
    site.held.add("a", 8)
    _, reading = site.start()
    with pytest.raises(QueueFull, match="no room for 10"):
        await reading


async def test_reads_that_wait_are_refused_once_messages_have_taken_the_room() -> None:
    site = Site(limit=15)
    first, reading = site.start()
    await first.is_read.wait()
    _, waiting = site.start()
    await asyncio.sleep(0)
    first.send(b"x" * MESSAGE)
    await reading
    with pytest.raises(QueueFull):
        await waiting


async def test_a_wait_for_room_ends() -> None:
    site = Site(limit=15, wait_s=0.01)
    first, reading = site.start()
    await first.is_read.wait()
    _, waiting = site.start()
    with pytest.raises(QueueFull):
        await waiting
    first.send(grpc.aio.EOF)
    await reading


async def test_idle_reads_give_their_room_back_and_can_be_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert read_room.IDLE_AFTER_S == message_reads.IDLE_AFTER_S
    monkeypatch.setattr(message_reads, "IDLE_AFTER_S", 0.0)
    site = Site(limit=1000)
    idle = [site.start("many") for _ in range(3)]
    stream, other = site.start("one")
    await stream.is_read.wait()
    await asyncio.sleep(0.01)  # the timers of reads that are idle at once
    assert site.held.held == 0
    await site.reads.some_are_idle()
    assert site.reads.evict_idle() == 3
    for _, reading in idle:
        with pytest.raises(QueueFull):
            await reading
    stream.send(b"late")
    assert await other == b"late"
    assert site.reads.evict_idle() == 0
    idle_again = asyncio.create_task(site.reads.some_are_idle())
    await asyncio.sleep(0)
    assert not idle_again.done()
    _, another = site.start("one")
    await idle_again
    another.cancel()
    await asyncio.wait([another])
    assert site.held.held == 4
