"""Ctrl-C in commands that wait for a gateway.

A KeyboardInterrupt could be raised anywhere, also where gRPC would swallow it; so
the signal cancels the RPC that is under way, and the command ends with 130. A second one ends
it as ever.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import grpc

INTERRUPTED = 128 + signal.SIGINT
_LOOK_EVERY_S = 0.05
_CANCELLED = (grpc.RpcError, grpc.FutureCancelledError)


class Interruption:
    """From the first Ctrl-C on, RPCs that run through it end; the block ends with exit code 130."""

    def __init__(self) -> None:
        self._happened = False
        self._call: grpc.RpcContext | None = None
        self._before: Any = None

    def result(self, call: Any) -> Any:
        """The response of a unary RPC, begun with the stub's `future`."""
        return self._during(call).result()

    def responses(self, call: Any) -> Iterator[Any]:
        """The responses of a streaming RPC."""
        yield from self._during(call)

    def sleep(self, seconds: float) -> None:
        """Waits for so long; Ctrl-C ends it."""
        wake = time.monotonic() + seconds
        while not self._happened and time.monotonic() < wake:
            time.sleep(min(_LOOK_EVERY_S, max(0.0, wake - time.monotonic())))
        if self._happened:
            raise SystemExit(INTERRUPTED)

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.signal(signal.SIGINT, self._before)
        if self._happened and (error is None or isinstance(error, _CANCELLED)):
            raise SystemExit(INTERRUPTED) from None

    def _during(self, call: Any) -> Any:
        self._call = call
        if self._happened:
            call.cancel()
        return call

    def _interrupt(self, *_: object) -> None:
        self._happened = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._call is not None:
            # A thread: what was interrupted may hold a lock that cancelling needs.
            threading.Thread(target=self._call.cancel, daemon=True).start()
