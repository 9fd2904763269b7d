"""A stream of requests that can be sent again, as often as it takes.

What can be iterated anew (a list, an object whose `__iter__` starts over) is. Of an
iterator, what was taken is kept until the gateways are known to have it all. Where the
iterator raises, every attempt sees it: a stream that broke must not look ended.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Replay(Generic[T]):
    """Requests for stubs of `grpc`, whose attempts each take them in a thread of their own."""

    def __init__(self, requests: Iterable[T]) -> None:
        iterator = iter(requests)
        self._anew = None if iterator is requests else requests
        self._iterator = iterator
        self._kept: list[T] = []
        self._error: Exception | None = None
        self._lock = threading.Lock()

    def again(self) -> Iterator[T]:
        """All requests, from the first on."""
        return self._replayed() if self._anew is None else iter(self._anew)

    def release(self) -> None:
        """Nothing will be sent again from the first on."""
        self._kept = []

    def _replayed(self) -> Iterator[T]:
        kept = self._kept
        index = 0
        while True:
            # An attempt that was cut off may still wait here: what it gets is kept, too.
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
    """Requests for stubs of `grpc.aio`; of an ordinary iterable, too."""

    def __init__(self, requests: AsyncIterable[T] | Iterable[T]) -> None:
        self._anew = None if isinstance(requests, (AsyncIterator, Iterator)) else requests
        self._iterator = _asynchronous(requests)
        self._kept: list[T] = []
        self._next: asyncio.Task[Any] | None = None

    def again(self) -> AsyncIterator[T]:
        """All requests, from the first on."""
        return self._replayed() if self._anew is None else _asynchronous(self._anew)

    def release(self) -> None:
        """Nothing will be sent again from the first on."""
        self._kept = []

    async def _replayed(self) -> AsyncIterator[T]:
        kept = self._kept
        index = 0
        while True:
            if index == len(kept) and not await self._another(kept):
                return
            yield kept[index]
            index += 1

    async def _another(self, kept: list[T]) -> bool:
        """Takes one more request, unless an attempt that was cut off is at it; False at the end.

        A task of its own, so that the end of an attempt does not end the caller's generator.
        """
        if self._next is None or (self._next.done() and self._next.exception() is None):
            self._next = asyncio.create_task(self._take(kept))
        return bool(await asyncio.shield(self._next))

    async def _take(self, kept: list[T]) -> bool:
        try:
            kept.append(await anext(self._iterator))
        except StopAsyncIteration:
            return False
        return True


async def _asynchronous(requests: AsyncIterable[T] | Iterable[T]) -> AsyncIterator[T]:
    if isinstance(requests, AsyncIterable):
        async for request in requests:
            yield request
    else:
        for request in requests:
            yield request
