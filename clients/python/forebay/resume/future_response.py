"""The response of a unary call over `grpc` as a future. Timers start its further attempts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import grpc

from forebay.deadline import Deadline
from forebay.resume.calls import BlockingAttempts, CancelledAttempt, ResumingCall


class FutureResponse(ResumingCall, grpc.Future):  # type: ignore[type-arg]  # no generic at run time
    """The response of a call, over all attempts."""

    def __init__(self, attempts: BlockingAttempts) -> None:
        self._done = threading.Event()
        self._timer: threading.Timer | None = None
        super().__init__(attempts, "future")
        self._inner.add_done_callback(self._on_attempt_done)

    def result(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return self._inner.result()

    def exception(self, timeout: float | None = None) -> Exception | None:
        self._wait(timeout)
        return cast("Exception | None", self._inner.exception())

    def traceback(self, timeout: float | None = None) -> Any:
        self._wait(timeout)
        return self._inner.traceback()

    def done(self) -> bool:
        return self._done.is_set()

    def running(self) -> bool:
        return not self.done()

    def cancelled(self) -> bool:
        return self.done() and bool(self._inner.cancelled())

    def add_done_callback(self, fn: Callable[[Any], None]) -> None:
        if not self.add_callback(lambda: fn(self)):
            fn(self)

    def initial_metadata(self) -> Any:
        """Waits for the call to end."""
        return self._last_attempt().initial_metadata()

    def cancel(self) -> bool:
        cancelled = super().cancel()
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
            self._inner = CancelledAttempt()
            self._finish()
        return cancelled

    def _wait(self, timeout: float | None) -> None:
        if not self._done.wait(Deadline.after(timeout).timeout_s()):
            raise grpc.FutureTimeoutError

    def _last_attempt(self) -> Any:
        self._done.wait()
        return self._inner

    def _on_attempt_done(self, inner: Any) -> None:
        failed = None if inner.cancelled() else inner.exception()
        delay_s = (
            self._attempts.retry_delay_s(inner, inner.initial_metadata())
            if isinstance(failed, grpc.RpcError)
            else None
        )
        if delay_s is None:
            if failed is not None:
                self._replaced_by_cancellation(inner)
            self._finish()
            return
        self._timer = threading.Timer(delay_s, self._retry)
        self._timer.daemon = True
        self._timer.start()

    def _retry(self) -> None:
        with self._lock:
            if self._timer is None:  # cancelled
                return
            self._timer = None
            started = self._start()
        if started:
            self._inner.add_done_callback(self._on_attempt_done)
        else:
            self._finish()

    def _finish(self) -> None:
        super()._finish()
        self._done.set()
