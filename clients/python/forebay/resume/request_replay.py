"""Request streams that each attempt of a call can send from the first request on.

A list, or any object whose `__iter__` starts over, is iterated once for each attempt. The
requests of an iterator are kept until the gateways have them all. If the iterator
raises, every attempt raises: a stream that broke must not look complete.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Replay(Generic[T]):
    """Requests for stubs of `grpc`; each attempt reads them in a thread of its own."""

    def __init__(self, requests: Iterable[T]) -> None:
        iterator = iter(requests)
        self._repeatable = None if iterator is requests else requests
        self._iterator = iterator
        self._kept: list[T] = []
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def replay(self) -> Iterator[T]:
        """All requests, from the first on."""
        return self._replayed() if self._repeatable is None else iter(self._repeatable)

    def release(self) -> None:
        """Forgets the kept requests: no later attempt will send them."""
        self._kept = []

    def _replayed(self) -> Iterator[T]:
        kept = self._kept
        index = 0
        while True:
            # A failed attempt may still wait in `next`, perhaps because the iterator waits for a
            # response to a request that this attempt has yet to send. The request that the
            # failed attempt then gets is kept for this one.
            if index == len(kept):
                with self._lock:
                    if index == len(kept) and not self._take(kept):
                        return
            yield kept[index]
            index += 1

    def _take(self, kept: list[T]) -> bool:
        if self._error is not None:
            raise self._error
        try:
            kept.append(next(self._iterator))
        except StopIteration:
            return False
        except Exception as error:
            self._error = error
            raise
        return True


class AsyncReplay(Generic[T]):
    """Requests for stubs of `grpc.aio`, from an asynchronous or an ordinary iterable."""

    def __init__(self, requests: AsyncIterable[T] | Iterable[T]) -> None:
        is_iterator = isinstance(requests, (AsyncIterator, Iterator))
        self.has_raised = False
        """Whether the caller's iterable has raised an exception."""
        self._repeatable = None if is_iterator else requests
        self._iterator = self._iterated(requests)
        self._kept: list[T] = []
        self._next: asyncio.Task[Any] | None = None

    def replay(self) -> AsyncIterator[T]:
        """All requests, from the first on."""
        return self._replayed() if self._repeatable is None else self._iterated(self._repeatable)

    def release(self) -> None:
        """Forgets the kept requests: no later attempt will send them."""
        self._kept = []

    async def _replayed(self) -> AsyncIterator[T]:
        kept = self._kept
        index = 0
        while True:
            if index == len(kept) and not await self._take_next(kept):
                return
            yield kept[index]
            index += 1

    async def _take_next(self, kept: list[T]) -> bool:
        """Reads one more request, or waits while a failed attempt reads it; False at the end.

        A separate task reads: cancelling an attempt must not cancel the caller's generator.
        """
        if self._next is None or _has_result(self._next):
            self._next = asyncio.create_task(self._take(kept))
        return bool(await asyncio.shield(self._next))

    async def _take(self, kept: list[T]) -> bool:
        try:
            kept.append(await anext(self._iterator))
        except StopAsyncIteration:
            return False
        return True

    async def _iterated(self, requests: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
        try:
            if isinstance(requests, AsyncIterable):
                async for request in requests:
                    yield request
            else:
                for request in requests:
                    yield request
        except (Exception, asyncio.CancelledError):
            task = asyncio.current_task()
            self.has_raised = task is None or not task.cancelling()
            raise


class RequestWriter(AsyncIterator[Any]):
    """The requests of a caller that uses `write` and `done_writing`."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.has_ended = False

    async def __anext__(self) -> Any:
        item = await self._queue.get()
        if not item:
            raise StopAsyncIteration
        return item[0]

    def write(self, request: Any) -> None:
        self._queue.put_nowait((request,))

    def end(self) -> None:
        if not self.has_ended:
            self.has_ended = True
            self._queue.put_nowait(())


def _has_result(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
