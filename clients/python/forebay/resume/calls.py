"""Calls over `grpc` that are retried. Their metadata and status are those of the last attempt.

They have the methods of gRPC's own calls and behave as those do; `tests/e2e/test_calls_as_grpcs.py`
runs the same assertions over both.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, cast

import grpc

from forebay.deadline import Deadline
from forebay.resume.attempts import Attempts, call_all, weakly
from forebay.resume.ended_attempts import CancelledAttempt


class BlockingAttempts(Attempts):
    """Attempts between which a thread waits."""

    _new_event = threading.Event
    _cancelled: threading.Event

    def wait(self, delay_s: float) -> bool:
        """Waits until the next attempt is due; False if the call is cancelled before."""
        return not self._cancelled.wait(delay_s)


def call_and_wait(attempts: BlockingAttempts) -> tuple[Any, grpc.Call]:
    """The response, and the attempt that returned it; raises `grpc.RpcError`."""
    try:
        while True:
            try:
                response, call = attempts.start("with_call")
            except grpc.RpcError as error:
                delay_s = attempts.retry_delay_s(error, cast(grpc.Call, error).initial_metadata())
                if delay_s is not None and attempts.wait(delay_s):
                    continue
                attempts.is_over = True
                raise
            attempts.is_over = True
            return response, call
    except BaseException:  # such as Ctrl-C
        attempts.cancel()
        raise


class ResumingCall(grpc.RpcError, grpc.Call, grpc.Future):  # type: ignore[type-arg]  # no generic at run time
    """A call with one response, as a future; also the base of `ResponseStream`.

    As gRPC's own calls are, it is an `RpcError` too.

    `_inner` is the call of the latest attempt. When it ends, gRPC's thread decides about a retry,
    and a thread of its own waits for the retry; the caller need not read from the call or wait for
    it.
    """

    _with_callbacks: ClassVar[set[ResumingCall]] = set()
    """Keeps calls with callbacks alive: gRPC cancels a call whose last reference is dropped."""

    def __init__(self, attempts: BlockingAttempts, entry_point: str = "future") -> None:
        self._attempts = attempts
        self._entry_point = entry_point
        self._changed = threading.Condition(threading.RLock())
        self._callbacks: list[Callable[[], None]] = []
        self._inner: Any = attempts.start(entry_point)
        self._watch(self._inner)

    def result(self, timeout: float | None = None) -> Any:
        return self._ended(timeout).result()

    def exception(self, timeout: float | None = None) -> Exception | None:
        return cast("Exception | None", self._ended(timeout).exception())

    def traceback(self, timeout: float | None = None) -> Any:
        return self._ended(timeout).traceback()

    def done(self) -> bool:
        return self._attempts.is_over

    def running(self) -> bool:
        return not self.done()

    def is_active(self) -> bool:
        return not self.done()

    def cancelled(self) -> bool:
        return self.done() and bool(self._inner.cancelled())

    def time_remaining(self) -> float | None:  # type: ignore[override]  # as gRPC's own do
        return self._attempts.policy.timeout_s

    def cancel(self) -> bool:
        with self._changed:
            if self.done():
                return False
            self._attempts.cancel()
            if not self._inner.cancel():  # it is between two attempts
                self._inner = CancelledAttempt()
            self._set_over()
            return True

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._changed:
            if self.done():
                return False
            self._callbacks.append(callback)
            self._with_callbacks.add(self)
            return True

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    def initial_metadata(self) -> Any:
        """Waits for it; it may be empty if the call failed before the gateway sent any."""
        while True:
            inner = self._inner
            metadata = inner.initial_metadata()
            if metadata or inner.is_active() or not self._is_replaced(inner):
                return metadata

    @property
    def call_id(self) -> str | None:
        """The id by which a call that failed can be found; see `ResumePolicy.known_id`.

        The last attempt's metadata lacks it if no gateway answered any more.
        """
        return self._attempts.policy.known_id

    def code(self) -> grpc.StatusCode:
        return cast(grpc.StatusCode, self._ended().code())

    def details(self) -> str:
        return cast(str, self._ended().details())

    def trailing_metadata(self) -> Any:
        return self._ended().trailing_metadata()

    def debug_error_string(self) -> str | None:
        return cast("str | None", self._ended().debug_error_string())

    def __repr__(self) -> str:
        return repr(self._inner)

    __str__ = __repr__  # an exception's would be empty

    def _ended(self, timeout: float | None = None) -> Any:
        """The last attempt; waits for the end of the call."""
        with self._changed:
            if not self._changed.wait_for(self.done, Deadline.after(timeout).timeout_s()):
                raise grpc.FutureTimeoutError
            return self._inner

    def _is_replaced(self, inner: Any) -> bool:
        """Whether another attempt replaces one that has ended; waits until that is decided."""
        with self._changed:
            self._changed.wait_for(lambda: self.done() or self._inner is not inner)
            return self._inner is not inner

    def _watch(self, inner: Any) -> None:
        """Must be called without the lock: gRPC calls back at once if the attempt has ended."""
        inner.add_done_callback(weakly(self._on_attempt_done))

    def _on_attempt_done(self, inner: Any) -> None:
        """Ends the call, or starts a thread that retries the failed attempt.

        The retry needs `initial_metadata`, which may come after the status: to wait for it in
        gRPC's own thread would block forever.
        """
        if self.done() or inner.cancelled() or inner.code() is grpc.StatusCode.OK:
            self._end()
        else:
            threading.Thread(target=self._retry_or_end, args=(inner,), daemon=True).start()

    def _retry_or_end(self, failed: Any) -> None:
        delay_s = self._attempts.retry_delay_s(failed, failed.initial_metadata())
        if delay_s is None:
            self._end()
            return
        is_due = self._attempts.wait(delay_s)
        with self._changed:
            inner = self._next_attempt(is_due)
            if inner is not None:
                self._inner = inner
                self._changed.notify_all()
        if inner is None:
            self._end()
        else:
            self._watch(inner)

    def _next_attempt(self, is_due: bool) -> Any:
        """Starts the next attempt; None if the call has ended."""
        if self.done():
            return None
        if not is_due:
            self._inner = CancelledAttempt()
            return None
        try:
            inner = self._attempts.start(self._entry_point)
        except ValueError:  # the channel was closed
            return None
        if self._attempts.is_cancelled:
            inner.cancel()
        return inner

    def _set_over(self) -> None:
        self._attempts.is_over = True
        self._changed.notify_all()

    def _end(self) -> None:
        with self._changed:
            self._set_over()
            callbacks, self._callbacks = self._callbacks, []
        call_all(callbacks)
        self._with_callbacks.discard(self)


class ResponseStream(ResumingCall, Iterator[Any]):
    """The responses of a call, each once and in order, over all attempts."""

    def __init__(self, attempts: BlockingAttempts) -> None:
        self._readers = 0
        self._ended_while_read: Any = None
        super().__init__(attempts, "__call__")

    def __iter__(self) -> ResponseStream:
        return self

    def __next__(self) -> Any:
        while True:
            inner = self._inner
            try:
                return self._read(inner)
            except StopIteration:
                self._ended()
                raise
            except grpc.RpcError:
                if not self._is_replaced(inner):
                    raise

    next = __next__

    def _read(self, inner: Any) -> Any:
        with self._changed:
            self._readers += 1
        try:
            response = next(inner)
            self._attempts.on_response(response)
            return response
        finally:
            with self._changed:
                self._readers -= 1
                ended = None if self._readers else self._ended_while_read
            if ended is not None:
                self._on_attempt_done(ended)

    def _on_attempt_done(self, inner: Any) -> None:
        with self._changed:
            # The reader may have a response that is not counted yet; a retry would get it again.
            self._ended_while_read = inner if self._readers else None
            if self._readers:
                return
        super()._on_attempt_done(inner)
