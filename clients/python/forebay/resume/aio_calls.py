"""Calls over `grpc.aio` that are made again after a failure: `resumed_calls`' twin."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from typing import Any

import grpc

from forebay.resume.attempts import Attempts
from forebay.resume.policy import ResumePolicy

_BROKE_WHILE_SENDING = (grpc.StatusCode.INTERNAL, "Internal error from Core")
"""What `grpc.aio` itself says where a connection breaks under a message on its way out."""


class AsyncAttempts(Attempts):
    """Attempts between which a task waits."""

    def __init__(
        self,
        resumption: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        stop: Callable[[ResumePolicy], None],
    ) -> None:
        self._event = asyncio.Event()
        super().__init__(resumption, multicallables, request, options, left=self._event, stop=stop)

    async def again(self, failed: grpc.aio.AioRpcError) -> bool:
        """Waits until it is time for another attempt; False where there is to be none."""
        wait_s = self.wait_s(failed, failed.initial_metadata())
        if wait_s is None:
            return False
        try:
            async with asyncio.timeout(wait_s):
                await self._event.wait()
        except TimeoutError:
            return True
        raise asyncio.CancelledError  # as gRPC's own calls that were cancelled


class Written(AsyncIterator[Any]):
    """The requests of a caller who writes them one by one."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[tuple[Any, ...]] = asyncio.Queue()
        self.has_ended = False

    async def __anext__(self) -> Any:
        item = await self._queue.get()
        if not item:
            raise StopAsyncIteration
        return item[0]

    def write(self, request: Any) -> None:
        """Takes a request."""
        self._queue.put_nowait((request,))

    def end(self) -> None:
        """No more requests come."""
        if not self.has_ended:
            self.has_ended = True
            self._queue.put_nowait(())


class _Call(grpc.aio.Call):
    """What is the same of one response and of a stream; `_inner` is the latest attempt's call."""

    def __init__(self, attempts: AsyncAttempts, written: Written | None = None) -> None:
        self._attempts = attempts
        self._written = written
        self._callbacks: list[Callable[[Any], None]] = []
        self._replacing = asyncio.Lock()
        self._inner: Any = None
        self._begin()

    def cancel(self) -> bool:
        """Ends the call: its caller has no use for it any more."""
        if self.done():
            return False
        self._attempts.leave()
        self._inner.cancel()
        self._end()
        return True

    def cancelled(self) -> bool:
        """Whether the caller has ended it."""
        return self._attempts.is_left

    def done(self) -> bool:
        """Whether the call is over."""
        return self._attempts.is_over

    def time_remaining(self) -> float | None:
        """Seconds until the deadline; None where there is none."""
        return self._attempts.resumption.timeout_s

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Calls it with this call when that is over, at once where it is."""
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> Any:
        """Waits for it; it may be empty where the call failed before any came."""
        while True:
            inner = self._inner
            metadata = await inner.initial_metadata()
            if metadata or not (inner.done() and await self._goes_on_after(inner)):
                return metadata

    async def trailing_metadata(self) -> Any:
        """Waits for it."""
        return await (await self._last()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        """Waits for the status of the call."""
        code: grpc.StatusCode = await (await self._last()).code()
        return code

    async def details(self) -> str:
        """Waits for the status message of the call."""
        details: str = await (await self._last()).details()
        return details

    async def wait_for_connection(self) -> None:
        """Waits until an attempt is connected; raises what ended the call."""
        while True:
            inner = self._inner
            try:
                await inner.wait_for_connection()
                return
            except grpc.aio.AioRpcError:
                if not await self._goes_on_after(inner):
                    raise

    async def write(self, request: Any) -> None:
        """Sends a request; for calls that were given no iterator of them."""
        if self.done() or self._writer().has_ended:
            raise asyncio.InvalidStateError("the call takes no more requests")
        self._writer().write(request)

    async def done_writing(self) -> None:
        """Says that all requests were written."""
        self._writer().end()

    def _writer(self) -> Written:
        if self._written is None:
            raise grpc.aio.UsageError(
                "the call has an iterator of requests; nothing can be written"
            )
        return self._written

    async def _last(self) -> Any:
        """Waits until an attempt has ended that no other follows."""
        while True:
            inner = self._inner
            ok = await inner.code() is grpc.StatusCode.OK
            if ok or self.done() or not await self._goes_on_after(inner):
                return inner

    async def _goes_on_after(self, inner: Any) -> bool:
        """Whether another attempt has taken the place of one that failed. Waits for it."""
        async with self._replacing:
            if self._inner is not inner:
                return True
            failed = await _failure_of(inner)
            if self.done() or not await self._attempts.again(failed):
                return False
            self._begin()
            return True

    def _begin(self) -> None:
        self._inner = self._attempts.begin()

    def _end(self) -> None:
        self._attempts.is_over = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


async def _failure_of(inner: Any) -> grpc.aio.AioRpcError:
    code, details = await inner.code(), await inner.details()
    if (code, details) == _BROKE_WHILE_SENDING:
        code = grpc.StatusCode.UNAVAILABLE
    return grpc.aio.AioRpcError(
        code, await inner.initial_metadata(), await inner.trailing_metadata(), details
    )


class Response(_Call):
    """The one response of a call; to be awaited."""

    def __init__(self, attempts: AsyncAttempts, written: Written | None = None) -> None:
        super().__init__(attempts, written)
        self._task = asyncio.create_task(self._response())
        self._task.add_done_callback(self._on_done)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> bool:
        """As `grpc.aio`'s own."""
        return super().cancel() and self._task.cancel()

    async def _response(self) -> Any:
        while True:
            inner = self._inner
            try:
                return await inner
            except grpc.aio.AioRpcError:
                if not await self._goes_on_after(inner):
                    raise

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():  # perhaps before its first step
            super().cancel()
        else:
            task.exception()  # whether or not anyone awaits it
            self._end()


class ResponseStream(_Call, AsyncIterator[Any]):
    """The responses of a call, each once and in order, over however many attempts."""

    _failure: grpc.aio.AioRpcError | None = None

    async def __anext__(self) -> Any:
        response = await self.read()
        if response is grpc.aio.EOF:
            raise StopAsyncIteration
        return response

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`; a task that is cancelled here ends the call."""
        try:
            return await self._read()
        except asyncio.CancelledError:
            self.cancel()
            raise
        except grpc.aio.AioRpcError as error:
            self._failure = error
            self._end()
            raise

    async def _read(self) -> Any:
        if self._failure is not None:
            raise self._failure
        while True:
            inner, responses = self._inner, self._responses
            try:
                response = await anext(responses, grpc.aio.EOF)
            except grpc.aio.AioRpcError:
                if not await self._goes_on_after(inner):
                    raise
                continue
            if response is grpc.aio.EOF:
                self._end()
            else:
                self._attempts.on_response(response)
            return response

    def _begin(self) -> None:
        super()._begin()
        self._responses = aiter(self._inner)
