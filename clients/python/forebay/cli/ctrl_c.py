"""Ctrl-C in commands that wait for a gateway.

Python may raise KeyboardInterrupt anywhere, also inside gRPC, which would swallow it. So the first
Ctrl-C cancels the RPC in flight instead, and the command ends with exit code 130. The second one
raises KeyboardInterrupt.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

T = TypeVar("T")

INTERRUPTED = 128 + signal.SIGINT
_CHECK_INTERVAL_S = 0.05
_CANCELLED = (grpc.RpcError, grpc.FutureCancelledError)


class CancelOnCtrlC:
    """Cancels the RPCs of its block on Ctrl-C; then the block ends with exit code 130."""

    def __init__(self) -> None:
        self._interrupted = False
        self._call: grpc.RpcContext | None = None
        self._previous_handler: Any = None

    def result(self, call: Any) -> Any:
        """The response of a unary RPC that was started with the stub's `future`."""
        return self._track(call).result()

    def initial_metadata(self, call: Any) -> dict[str, str]:
        """The initial metadata of an RPC; empty if the RPC failed before it came."""
        return dict(self._track(call).initial_metadata() or ())

    def responses(self, call: Any) -> Iterator[Any]:
        """The responses of a streaming RPC."""
        yield from self._track(call)

    def next_of(self, queue: SimpleQueue[T]) -> T:
        """The next entry of a queue."""
        while not self._interrupted:
            with suppress(Empty):
                return queue.get(timeout=_CHECK_INTERVAL_S)
        raise SystemExit(INTERRUPTED)

    def sleep(self, seconds: float) -> None:
        wake_at = time.monotonic() + seconds
        while not self._interrupted and time.monotonic() < wake_at:
            time.sleep(min(_CHECK_INTERVAL_S, max(0.0, wake_at - time.monotonic())))
        if self._interrupted:
            raise SystemExit(INTERRUPTED)

    def interrupt(self) -> None:
        """Does what the first Ctrl-C does; may be called from any thread."""
        self._interrupted = True
        if self._call is not None:
            # In a thread: the interrupted code may hold a lock that `cancel` needs.
            threading.Thread(target=self._call.cancel, daemon=True).start()

    def __enter__(self) -> Self:
        self._previous_handler = signal.signal(signal.SIGINT, self._on_sigint)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._previous_handler)
        if self._interrupted and (error is None or isinstance(error, _CANCELLED)):
            raise SystemExit(INTERRUPTED) from None

    def _track(self, call: Any) -> Any:
        self._call = call
        if self._interrupted:
            call.cancel()
        return call

    def _on_sigint(self, *_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self.interrupt()
