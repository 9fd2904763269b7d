"""Calls over `grpc` that are made again after a failure. What is seen of one (metadata,
status) is its latest attempt's.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import grpc

from forebay.resume.attempts import Attempts
from forebay.resume.policy import ResumePolicy


class BlockingAttempts(Attempts):
    """Attempts between which a thread waits."""

    def __init__(
        self,
        resumption: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        stop: Callable[[ResumePolicy], None],
    ) -> None:
        self._event = threading.Event()
        super().__init__(resumption, multicallables, request, options, left=self._event, stop=stop)

    def again(self, failed: grpc.RpcError) -> bool:
        """Waits until it is time for another attempt; False where there is to be none."""
        wait_s = self.wait_s(failed, cast(grpc.Call, failed).initial_metadata())
        return wait_s is not None and not self._event.wait(wait_s)


def call_and_wait(attempts: BlockingAttempts) -> tuple[Any, grpc.Call]:
    """The response of a call, and the attempt that it came by; raises `grpc.RpcError`."""
    try:
        while True:
            try:
                response, call = attempts.begin("with_call")
            except grpc.RpcError as error:
                if attempts.again(error):
                    continue
                attempts.is_over = True
                raise
            attempts.is_over = True
            return response, call
    except BaseException:  # Ctrl-C, for one
        attempts.leave()
        raise


class _Call(grpc.Call):
    """What is the same of a stream of responses and of a future one.

    `_inner` is the latest attempt's call, `_lock` is held while it is replaced.
    """

    def __init__(self, attempts: BlockingAttempts, how: str) -> None:
        self._attempts = attempts
        self._how = how
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._inner: Any = attempts.begin(how)

    def cancel(self) -> bool:
        """Ends the call: its caller has no use for it any more."""
        if self._attempts.is_over:
            return False
        self._attempts.leave()
        return bool(self._inner.cancel())

    def is_active(self) -> bool:
        """Whether the call goes on."""
        return not self._attempts.is_over

    def time_remaining(self) -> float | None:  # type: ignore[override]  # as gRPC's own do
        """Seconds until the deadline; None where there is none."""
        return self._attempts.resumption.timeout_s

    def add_callback(self, callback: Callable[[], None]) -> bool:
        """Has the callback called when the call is over; False where it is already."""
        with self._lock:
            if not self._attempts.is_over:
                self._callbacks.append(callback)
                return True
            return False

    def initial_metadata(self) -> Any:
        """Waits for it; it may be empty where the call failed before any came."""
        while True:
            inner = self._inner
            metadata = inner.initial_metadata()
            if metadata or inner.is_active() or not self._goes_on_after(inner):
                return metadata

    def code(self) -> grpc.StatusCode:
        """Waits for the status of the call."""
        return cast(grpc.StatusCode, self._last().code())

    def details(self) -> str:
        """Waits for the status message of the call."""
        return cast(str, self._last().details())

    def trailing_metadata(self) -> Any:
        """Waits for it."""
        return self._last().trailing_metadata()

    def _last(self) -> Any:
        """Waits until an attempt has ended that no other follows."""
        while True:
            inner = self._inner
            if inner.code() is grpc.StatusCode.OK or not self._goes_on_after(inner):
                return inner

    def _goes_on_after(self, failed: Any) -> bool:
        """Whether another attempt has taken the place of the one that failed. Waits for it."""
        with self._lock:
            if self._inner is not failed:
                return True
            if self._attempts.again(failed):
                return self._begin()
            return self._is_cancelled_after(failed)

    def _is_cancelled_after(self, failed: Any) -> bool:
        """Whether the caller left when no attempt went on; it is told so then."""
        if not self._attempts.is_left or failed.code() is grpc.StatusCode.CANCELLED:
            return False
        self._inner = cancelled_attempt()
        return True

    def _begin(self) -> bool:
        try:
            self._inner = self._attempts.begin(self._how)
        except ValueError:  # the channel was closed
            return False
        if self._attempts.is_left:
            self._inner.cancel()
        return True

    def _end(self) -> None:
        with self._lock:
            self._attempts.is_over = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class ResponseStream(_Call, Iterator[Any]):
    """The responses of a call, each once and in order, over however many attempts."""

    def __init__(self, attempts: BlockingAttempts) -> None:
        super().__init__(attempts, "__call__")

    def __iter__(self) -> ResponseStream:
        return self

    def __next__(self) -> Any:
        while True:
            inner = self._inner
            try:
                response = next(inner)
            except StopIteration:
                self._end()
                raise
            except grpc.RpcError:
                if self._goes_on_after(inner):
                    continue
                self._end()
                raise
            self._attempts.on_response(response)
            return response

    def cancel(self) -> bool:
        """As gRPC's own; no more responses come."""
        cancelled = super().cancel()
        if cancelled:
            self._end()
        return cancelled


class FutureResponse(_Call, grpc.Future):  # type: ignore[type-arg]  # no generic at run time
    """The response of a call that nobody waits for yet."""

    def __init__(self, attempts: BlockingAttempts) -> None:
        self._settled = threading.Event()
        self._timer: threading.Timer | None = None
        super().__init__(attempts, "future")
        self._inner.add_done_callback(self._on_attempt)

    def result(self, timeout: float | None = None) -> Any:
        """Waits for the response; raises what ended the call, or `grpc.FutureTimeoutError`."""
        self._wait(timeout)
        return self._inner.result()

    def exception(self, timeout: float | None = None) -> Exception | None:
        """Waits for the call to end; what ended it, or None."""
        self._wait(timeout)
        return cast("Exception | None", self._inner.exception())

    def traceback(self, timeout: float | None = None) -> Any:
        """As `exception`, its traceback."""
        self._wait(timeout)
        return self._inner.traceback()

    def done(self) -> bool:
        """Whether the call is over."""
        return self._settled.is_set()

    def running(self) -> bool:
        """Whether the call goes on."""
        return not self.done()

    def cancelled(self) -> bool:
        """Whether its caller has left the call."""
        return self.done() and bool(self._inner.cancelled())

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        """Calls it with this future when the call is over, at once where it is."""
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    def _wait(self, timeout: float | None) -> None:
        if not self._settled.wait(timeout):
            raise grpc.FutureTimeoutError

    def _last(self) -> Any:
        self._settled.wait()
        return self._inner

    def initial_metadata(self) -> Any:
        """Waits for the call to end."""
        return self._last().initial_metadata()

    def cancel(self) -> bool:
        """As gRPC's own."""
        cancelled = super().cancel()
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._inner = cancelled_attempt()
            self._end()
        return cancelled

    def _on_attempt(self, inner: Any) -> None:
        failed = None if inner.cancelled() else inner.exception()
        wait_s = (
            self._attempts.wait_s(inner, inner.initial_metadata())
            if isinstance(failed, grpc.RpcError)
            else None
        )
        if wait_s is None:
            if failed is not None:
                self._is_cancelled_after(inner)
            self._end()
            return
        self._timer = threading.Timer(wait_s, self._try_again)
        self._timer.daemon = True
        self._timer.start()

    def _try_again(self) -> None:
        with self._lock:
            if self._timer is None:  # cancelled
                return
            self._timer = None
            begun = self._begin()
        if begun:
            self._inner.add_done_callback(self._on_attempt)
        else:
            self._end()

    def _end(self) -> None:
        super()._end()
        self._settled.set()


def cancelled_attempt() -> Any:
    """One anew: it is raised, and a traceback is added to it."""
    return _CancelledAttempt()


class _CancelledAttempt(grpc.RpcError):
    """Answers as gRPC's own calls do that were cancelled."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.CANCELLED

    def details(self) -> str:
        return "Locally cancelled by application!"

    def initial_metadata(self) -> tuple[()]:
        return ()

    def trailing_metadata(self) -> tuple[()]:
        return ()

    def is_active(self) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return True

    def result(self) -> Any:
        raise grpc.FutureCancelledError

    exception = traceback = result

    def __next__(self) -> Any:
        raise self
