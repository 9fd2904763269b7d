"""Reads request messages, as many at a time as there is room for (`read_room.py`)."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import grpc

from forebay.errors import QueueFull
from forebay_gateway.admission.read_room import IDLE_AFTER_S, ReadRoom
from forebay_gateway.rpc.context import Context


class _Read:
    """A read of one message. `evict` is the timeout around it, which never passes by itself."""

    __slots__ = ("_has_room", "_room", "caller", "evict")

    def __init__(self, room: ReadRoom, caller: str) -> None:
        self.caller = caller
        self.evict = asyncio.timeout(None)
        self._room = room
        self._has_room = False

    def start(self) -> None:
        self._has_room = True
        self._room.start(self.caller)

    def end(self) -> None:
        """Gives the room back, once."""
        if self._has_room:
            self._has_room = False
            self._room.end(self.caller)


class MessageReads:
    """The reads that share one `ReadRoom`.

    A read waits up to `wait_s` for room, in the order in which its caller's reads came; then
    it raises what `full` returns for the caller and the size.
    """

    def __init__(
        self, room: ReadRoom, full: Callable[[str, int], QueueFull], wait_s: float
    ) -> None:
        self._room = room
        self._full = full
        self._wait_s = wait_s
        self._waiting: dict[str, deque[tuple[_Read, asyncio.Future[None]]]] = {}
        self._idle: set[_Read] = set()
        self._some_are_idle = asyncio.Event()

    async def read(self, context: Context, caller: str, count: Callable[[int], None]) -> Any:
        """Returns the next message, or EOF.

        The message's size goes to `count`, in place of the room that the read took; no other
        read takes it in between. It takes room when the message begins to arrive, or at once
        where the front can't tell. Raises QueueFull, and what `count` raises.
        """
        await context.arrival()
        read = _Read(self._room, caller)
        try:
            await self._start(read)
            message = await self._message(context, read)
            read.end()
            if message is not grpc.aio.EOF:
                count(len(message))
            return message
        finally:
            self._end(read)

    def read_now(self, context: Context, caller: str, count: Callable[[int], None]) -> bytes | None:
        """Like `read`, but returns None if the message, or room for it, is not there yet."""
        if caller in self._waiting or not self._room.fits(caller):
            return None
        message = context.read_now()
        if message is not None:
            count(len(message))
        return message

    async def some_are_idle(self) -> None:
        """Returns while there are idle reads, or when there are again."""
        await self._some_are_idle.wait()

    def evict_idle(self) -> int:
        """Fails the idle reads of the caller with the most of them; returns how many."""
        counts = Counter(read.caller for read in self._idle)
        if not counts:
            return 0
        ((caller, count),) = counts.most_common(1)
        now = asyncio.get_running_loop().time()
        for read in self._idle:
            if read.caller == caller:
                read.evict.reschedule(now)
        return count

    async def _start(self, read: _Read) -> None:
        caller = read.caller
        if caller not in self._waiting and self._room.fits(caller):
            read.start()
            return
        if self._room.is_full(caller):
            raise self._error(caller)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append((read, turn))
        try:
            async with asyncio.timeout(self._wait_s):
                await turn
        except TimeoutError:
            raise self._error(caller) from None

    async def _message(self, context: Context, read: _Read) -> Any:
        idle = asyncio.get_running_loop().call_later(IDLE_AFTER_S, self._on_idle, read)
        try:
            async with read.evict:
                return await context.read()
        except TimeoutError:
            raise self._error(read.caller) from None
        finally:
            idle.cancel()

    def _on_idle(self, read: _Read) -> None:
        self._idle.add(read)
        self._some_are_idle.set()
        read.end()
        self._wake()

    def _end(self, read: _Read) -> None:
        self._idle.discard(read)
        if not self._idle:
            self._some_are_idle.clear()
        read.end()
        self._wake()

    def _wake(self) -> None:
        """Starts the reads that fit now, and fails those that no end of a read makes fit."""
        for caller, waiting in list(self._waiting.items()):
            while waiting:
                read, turn = waiting[0]
                if turn.done():  # cancelled, or timed out
                    pass
                elif self._room.fits(caller):
                    read.start()
                    turn.set_result(None)
                elif self._room.is_full(caller):
                    turn.set_exception(self._error(caller))
                else:
                    break
                waiting.popleft()
            if not waiting:
                del self._waiting[caller]

    def _error(self, caller: str) -> QueueFull:
        return self._full(caller, self._room.message_bytes)
