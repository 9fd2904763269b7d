"""Calls over `grpc.aio` with retries; the counterpart of `resume.calls`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from functools import partial
from typing import Any

import grpc

from forebay.resume.aio_attempts import AsyncAttempts
from forebay.resume.attempts import call_all, weakly
from forebay.resume.ended_attempts import AsyncEndedAttempt
from forebay.resume.request_replay import RequestWriter


class ResumingCall(grpc.aio.Call):
    """The base of `Response` and `ResponseStream`; `_inner` is the latest attempt's call."""

    def __init__(self, attempts: AsyncAttempts, writer: RequestWriter | None = None) -> None:
        self._attempts = attempts
        self._requests = writer
        self._callbacks: list[Callable[[], None]] = []
        self._replacing = asyncio.Lock()
        self._inner: Any = None
        self._start()

    def cancel(self) -> bool:
        if self.done():
            return False
        self._attempts.cancel()
        if not self._inner.cancel():  # it is between two attempts
            self._inner = AsyncEndedAttempt()
        self._finish()
        return True

    def cancelled(self) -> bool:
        return self.done() and bool(self._attempts.as_ended(self._inner).cancelled())

    def done(self) -> bool:
        return self._attempts.is_over

    def time_remaining(self) -> float | None:
        return self._attempts.policy.timeout_s

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        if self.done():
            callback(self)
        else:
            self._callbacks.append(partial(callback, self))

    async def initial_metadata(self) -> Any:
        """Waits for the metadata; it may be empty if the call failed before the gateway sent it."""
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

    async def debug_error_string(self) -> str | None:
        text: str | None = await (await self._last_attempt()).debug_error_string()
        return text

    def __repr__(self) -> str:
        return repr(self._inner)

    async def wait_for_connection(self) -> None:
        """Waits until an attempt is connected; raises the call's error if the call ends first."""
        await self._by_attempts(lambda inner: inner.wait_for_connection())

    async def write(self, request: Any) -> None:
        """Sends a request; only for calls that were started without an iterator of requests."""
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
        """Waits until the call has ended, and returns its last attempt."""
        while True:
            inner = self._inner
            ok = await inner.code() is grpc.StatusCode.OK
            if ok or self.done() or not await self._was_retried(inner):
                return self._attempts.as_ended(self._inner)  # a cancel has replaced it

    async def _was_retried(self, inner: Any) -> bool:
        """Whether another attempt has replaced the failed one; waits until that is decided."""
        async with self._replacing:
            if self._inner is not inner:
                return not self._attempts.is_cancelled
            failed = await _failure_of(self._attempts.as_ended(inner))
            if self.done():
                return False
            is_due = await self._attempts.wait_to_retry(failed)
            if is_due:
                self._start()
            elif not self.done():
                if self._attempts.is_cancelled:  # by the channel
                    self._inner = AsyncEndedAttempt()
                self._finish()
            return is_due

    async def _by_attempts(self, act: Callable[[Any], Awaitable[Any]]) -> Any:
        """The result of `act` on the first attempt that has one; raises the last one's error."""
        while True:
            if self._attempts.is_cancelled:
                raise asyncio.CancelledError  # as a cancelled `grpc.aio` call does
            inner = self._inner
            try:
                return await self._of_attempt(inner, act(inner))
            except grpc.aio.AioRpcError:
                if not (await self._was_retried(inner) or self._attempts.is_cancelled):
                    raise

    async def _of_attempt(self, inner: Any, result: Awaitable[Any]) -> Any:
        """Waits for it; also raises AioRpcError if `grpc.aio` itself has cancelled the attempt."""
        try:
            return await result
        except asyncio.CancelledError:
            task = asyncio.current_task()
            ended = self._attempts.as_ended(inner)
            if (task is not None and task.cancelling()) or ended is inner:
                raise
        raise await _failure_of(ended)

    def _start(self) -> None:
        self._inner = self._attempts.start()

    def _finish(self) -> None:
        self._attempts.is_over = True
        callbacks, self._callbacks = self._callbacks, []
        call_all(callbacks)


async def _failure_of(inner: Any) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        await inner.code(),
        await inner.initial_metadata(),
        await inner.trailing_metadata(),
        await inner.details(),
    )


class Response(ResumingCall):
    """A call with one response, which is awaited."""

    def __init__(self, attempts: AsyncAttempts, writer: RequestWriter | None = None) -> None:
        super().__init__(attempts, writer)
        self._task = asyncio.create_task(self._by_attempts(lambda inner: inner))
        self._task.add_done_callback(self._on_done)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._task.__await__()

    def cancel(self) -> bool:
        return super().cancel() and self._task.cancel()

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():  # perhaps before its first step
            super().cancel()
        else:
            task.exception()  # marks it as retrieved: a caller need not await the call
            self._finish()


class ResponseStream(ResumingCall, AsyncIterator[Any]):
    """A call's responses: each once and in order, however many attempts there are."""

    def __init__(self, attempts: AsyncAttempts, writer: RequestWriter | None = None) -> None:
        self._failure: grpc.aio.AioRpcError | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._settling: asyncio.Task[None] | None = None
        super().__init__(attempts, writer)

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
        return await self._by_attempts(lambda _: self._response())

    async def _response(self) -> Any:
        self._idle.clear()
        try:
            response = await anext(self._responses, grpc.aio.EOF)
            if response is grpc.aio.EOF:
                self._finish()
            else:
                self._attempts.on_response(response)
            return response
        finally:
            self._idle.set()

    def _start(self) -> None:
        super()._start()
        self._responses = aiter(self._inner)
        self._inner.add_done_callback(weakly(self._on_attempt_done))

    def _on_attempt_done(self, inner: Any) -> None:
        self._settling = asyncio.create_task(self._settle(inner))

    async def _settle(self, inner: Any) -> None:
        """Retries the call or ends it, even if the caller does not read its responses."""
        is_ok = await inner.code() is grpc.StatusCode.OK
        await self._idle.wait()  # a reader may have a response that is not counted yet
        if is_ok:
            self._finish()
        else:
            await self._was_retried(inner)
