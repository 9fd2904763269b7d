"""Ordinary handlers under interceptors of `grpc.aio`: they run in threads of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextvars import copy_context
from functools import partial
from typing import Any

import grpc.aio

from forebay_workers.coroutines.call import CoroutineCall

_END = object()


class ThreadsRequests:
    """The requests of a call, for a handler in a thread, with the methods of `grpc.server`'s."""

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self._loop = asyncio.get_running_loop()

    def __iter__(self) -> ThreadsRequests:
        return self

    def __next__(self) -> Any:
        request = asyncio.run_coroutine_threadsafe(self._reading(), self._loop).result()
        if request is grpc.aio.EOF:
            raise StopIteration
        return request

    def next(self) -> Any:
        """Like `next(requests)`, which `grpc.server` offers too."""
        return self.__next__()

    async def _reading(self) -> Any:
        return await self._read()


async def respond(function: Callable[..., Any], argument: Any, call: CoroutineCall) -> Any:
    """Calls a handler in a thread, with the context of `grpc.server`; returns its result."""
    return await _in_thread(partial(copy_context().run, function, argument, call))


async def respond_with_stream(
    function: Callable[..., Any],
    argument: Any,
    call: CoroutineCall,
    write: Callable[[Any], Awaitable[None]],
) -> None:
    """Writes each response that the handler yields; it runs in a thread between them."""
    variables = copy_context()
    run = partial(_in_thread_with, variables.run)
    responses = iter(await run(function, argument, call))
    try:
        while (response := await run(next, responses, _END)) is not _END:
            await write(response)
    finally:
        close = getattr(responses, "close", None)
        if close is not None and call.stopped is None:  # a stopped one may still run in its thread
            await run(close)


async def read_generator(
    messages: Iterator[Any], call: CoroutineCall, read: Callable[[Any], Awaitable[None]]
) -> Any:
    """Passes on what a generator yields, which runs in a thread; returns what it returns."""
    run = partial(_in_thread_with, copy_context().run)

    def following() -> tuple[Any, Any]:
        try:
            return next(messages), None
        except StopIteration as end:
            return _END, end.value

    try:
        while True:
            message, returned = await run(following)
            if message is _END:
                return returned
            await read(message)
    finally:
        close = getattr(messages, "close", None)
        if close is not None and call.stopped is None:  # a stopped one may still run in its thread
            await run(close)


async def _in_thread_with(run: Callable[..., Any], *arguments: Any) -> Any:
    return await _in_thread(partial(run, *arguments))


async def _in_thread(function: Callable[[], Any]) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, function)
