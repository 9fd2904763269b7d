"""Calls over `grpc.aio` that are retried; see `resume.calls`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from typing import Any

import grpc

from forebay.resume.attempts import Attempts
from forebay.resume.policy import ResumePolicy


class AsyncAttempts(Attempts):
    """Attempts between which a task waits."""

    def __init__(
        self,
        policy: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        on_cancel: Callable[[ResumePolicy], None],
    ) -> None:
        self._event = asyncio.Event()
        super().__init__(
            policy, multicallables, request, options, cancelled=self._event, on_cancel=on_cancel
        )

    async def wait_to_retry(self, failed: grpc.aio.AioRpcError) -> bool:
        """Waits until the next attempt is due; False if there is none."""
        delay_s = self.retry_delay_s(failed, failed.initial_metadata())
        if delay_s is None:
            return False
        try:
            async with asyncio.timeout(delay_s):
                await self._event.wait()
        except TimeoutError:
            return True
        raise asyncio.CancelledError  # as gRPC's own calls that were cancelled


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


class ResumingCall(grpc.aio.Call):
    """The common part of one response and a stream; `_inner` is the latest attempt's call."""

    def __init__(self, attempts: AsyncAttempts, writer: RequestWriter | None = None) -> None:
        self._attempts = attempts
        self._requests = writer
        self._callbacks: list[Callable[[Any], None]] = []
        self._replacing = asyncio.Lock()
        self._inner: Any = None
        self._start()

    def cancel(self) -> bool:
        if self.done():
            return False
        self._attempts.cancel()
        self._inner.cancel()
        self._finish()
        return True

    def cancelled(self) -> bool:
        return self._attempts.is_cancelled

    def done(self) -> bool:
        return self._attempts.is_over

    def time_remaining(self) -> float | None:
        return self._attempts.policy.timeout_s

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            callback(self)
        else:
            self._callbacks.append(callback)

    async def initial_metadata(self) -> Any:
        """Waits for it; it may be empty if the call failed before the gateway sent any."""
        while True:
            inner = self._inner
            metadata = await inner.initial_metadata()
            if metadata or not (inner.done() and await self._was_retried(inner)):
                return metadata

    async def trailing_metadata(self) -> Any:
        return await (await self._last_attempt()).trailing_metadata()

    async def code(self) -> grpc.StatusCode:
        code: grpc.StatusCode = await (await self._last_attempt()).code()
        return code

    async def details(self) -> str:
        details: str = await (await self._last_attempt()).details()
        return details

    async def wait_for_connection(self) -> None:
        """Waits until an attempt is connected; raises the call's error if it ends before."""
        while True:
            inner = self._inner
            try:
                await inner.wait_for_connection()
                return
            except grpc.aio.AioRpcError:
                if not await self._was_retried(inner):
                    raise

    async def write(self, request: Any) -> None:
        """Sends a request; for calls that were started without an iterator of requests."""
        if self.done() or self._writer().has_ended:
            raise asyncio.InvalidStateError(
                "the call has ended, or `done_writing` was called; it takes no more requests"
            )
        self._writer().write(request)

    async def done_writing(self) -> None:
        self._writer().end()

    def _writer(self) -> RequestWriter:
        if self._requests is None:
            raise grpc.aio.UsageError(
                "the call was started with an iterator of requests; `write` needs a call without"
            )
        return self._requests

    async def _last_attempt(self) -> Any:
        """Waits for the end of the last attempt."""
        while True:
            inner = self._inner
            ok = await inner.code() is grpc.StatusCode.OK
            if ok or self.done() or not await self._was_retried(inner):
                return inner

    async def _was_retried(self, inner: Any) -> bool:
        """Whether another attempt has replaced the failed one; waits until it starts."""
        async with self._replacing:
            if self._inner is not inner:
                return True
            failed = await _failure_of(inner)
            if self.done() or not await self._attempts.wait_to_retry(failed):
                return False
            self._start()
            return True

    def _start(self) -> None:
        self._inner = self._attempts.start()

    def _finish(self) -> None:
        self._attempts.is_over = True
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)


async def _failure_of(inner: Any) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        await inner.code(),
        await inner.initial_metadata(),
        await inner.trailing_metadata(),
        await inner.details(),
    )


class Response(ResumingCall):
    """The one response of a call; to be awaited."""

    def __init__(self, attempts: AsyncAttempts, writer: RequestWriter | None = None) -> None:
        super().__init__(attempts, writer)
        self._task = asyncio.create_task(self._response())
        self._task.add_done_callback(self._on_done)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> bool:
        return super().cancel() and self._task.cancel()

    async def _response(self) -> Any:
        while True:
            inner = self._inner
            try:
                return await inner
            except grpc.aio.AioRpcError:
                if not await self._was_retried(inner):
                    raise

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():  # perhaps before its first step
            super().cancel()
        else:
            task.exception()  # marks it as retrieved: a caller need not await the call
            self._finish()


class ResponseStream(ResumingCall, AsyncIterator[Any]):
    """The responses of a call, each once and in order, over all attempts."""

    _failure: grpc.aio.AioRpcError | None = None

    async def __anext__(self) -> Any:
        response = await self.read()
        if response is grpc.aio.EOF:
            raise StopAsyncIteration
        return response

    async def read(self) -> Any:
        """The next response, or `grpc.aio.EOF`; cancelling the task that waits cancels the call."""
        try:
            return await self._read()
        except asyncio.CancelledError:
            self.cancel()
            raise
        except grpc.aio.AioRpcError as error:
            self._failure = error
            self._finish()
            raise

    async def _read(self) -> Any:
        if self._failure is not None:
            raise self._failure
        while True:
            inner, responses = self._inner, self._responses
            try:
                response = await anext(responses, grpc.aio.EOF)
            except grpc.aio.AioRpcError:
                if not await self._was_retried(inner):
                    raise
                continue
            if response is grpc.aio.EOF:
                self._finish()
            else:
                self._attempts.on_response(response)
            return response

    def _start(self) -> None:
        super()._start()
        self._responses = aiter(self._inner)
