"""Calls over `grpc` that are retried. Their metadata and status are those of the last attempt."""

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
        policy: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        on_cancel: Callable[[ResumePolicy], None],
    ) -> None:
        self._event = threading.Event()
        super().__init__(
            policy, multicallables, request, options, cancelled=self._event, on_cancel=on_cancel
        )

    def wait_to_retry(self, failed: grpc.RpcError) -> bool:
        """Waits until the next attempt is due; False if there is none."""
        delay_s = self.retry_delay_s(failed, cast(grpc.Call, failed).initial_metadata())
        return delay_s is not None and not self._event.wait(delay_s)


def call_and_wait(attempts: BlockingAttempts) -> tuple[Any, grpc.Call]:
    """The response, and the attempt that returned it; raises `grpc.RpcError`."""
    try:
        while True:
            try:
                response, call = attempts.start("with_call")
            except grpc.RpcError as error:
                if attempts.wait_to_retry(error):
                    continue
                attempts.is_over = True
                raise
            attempts.is_over = True
            return response, call
    except BaseException:  # such as Ctrl-C
        attempts.cancel()
        raise


class ResumingCall(grpc.Call):
    """The common part of a response stream and a response future.

    `_inner` is the call of the latest attempt; `_lock` is held while it is replaced.
    """

    def __init__(self, attempts: BlockingAttempts, entry_point: str) -> None:
        self._attempts = attempts
        self._entry_point = entry_point
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self._inner: Any = attempts.start(entry_point)

    def cancel(self) -> bool:
        if self._attempts.is_over:
            return False
        self._attempts.cancel()
        return bool(self._inner.cancel())

    def is_active(self) -> bool:
        return not self._attempts.is_over

    def time_remaining(self) -> float | None:  # type: ignore[override]  # as gRPC's own do
        return self._attempts.policy.timeout_s

    def add_callback(self, callback: Callable[[], None]) -> bool:
        with self._lock:
            if not self._attempts.is_over:
                self._callbacks.append(callback)
                return True
            return False

    def initial_metadata(self) -> Any:
        """Waits for it; it may be empty if the call failed before the gateway sent any."""
        while True:
            inner = self._inner
            metadata = inner.initial_metadata()
            if metadata or inner.is_active() or not self._was_retried(inner):
                return metadata

    def code(self) -> grpc.StatusCode:
        return cast(grpc.StatusCode, self._last_attempt().code())

    def details(self) -> str:
        return cast(str, self._last_attempt().details())

    def trailing_metadata(self) -> Any:
        return self._last_attempt().trailing_metadata()

    def _last_attempt(self) -> Any:
        """Waits for the end of the last attempt."""
        while True:
            inner = self._inner
            if inner.code() is grpc.StatusCode.OK or not self._was_retried(inner):
                return inner

    def _was_retried(self, failed: Any) -> bool:
        """Whether another attempt has replaced the failed one; waits until it starts."""
        with self._lock:
            if self._inner is not failed:
                return True
            if self._attempts.wait_to_retry(failed):
                return self._start()
            return self._replaced_by_cancellation(failed)

    def _replaced_by_cancellation(self, failed: Any) -> bool:
        """If the caller cancelled between two attempts, makes CANCELLED the status of the call."""
        if not self._attempts.is_cancelled or failed.code() is grpc.StatusCode.CANCELLED:
            return False
        self._inner = CancelledAttempt()
        return True

    def _start(self) -> bool:
        try:
            self._inner = self._attempts.start(self._entry_point)
        except ValueError:  # the channel was closed
            return False
        if self._attempts.is_cancelled:
            self._inner.cancel()
        return True

    def _finish(self) -> None:
        with self._lock:
            self._attempts.is_over = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class ResponseStream(ResumingCall, Iterator[Any]):
    """The responses of a call, each once and in order, over all attempts."""

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
                self._finish()
                raise
            except grpc.RpcError:
                if self._was_retried(inner):
                    continue
                self._finish()
                raise
            self._attempts.on_response(response)
            return response

    def cancel(self) -> bool:
        cancelled = super().cancel()
        if cancelled:
            self._finish()
        return cancelled


class CancelledAttempt(grpc.RpcError):
    """Behaves as a cancelled call of gRPC's own. Raising it adds a traceback: never share one."""

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
