"""Counts what happens to one RPC, from its arrival to its end."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType

import grpc

from forebay.errors import DeadlineExceeded, ForebayError, InternalFault
from forebay_backends.telemetry.call_labels import current_call
from forebay_gateway.metrics.cancelled_rpcs import is_at_deadline
from forebay_gateway.metrics.method_meter import DISCONNECTED, OK, MethodMeter


class CallMeter:
    """Counts one RPC of a call; a context manager, whose exit counts the end.

    `time_remaining` is that of the RPC's context: it tells a deadline from a disconnect. An
    accepted call also counts in `tenant_ended`, which is None without a tenant.
    """

    __slots__ = (
        "_accepted_at",
        "_has_item",
        "_is_attached",
        "_method",
        "_tenant_ended",
        "_time_remaining",
    )

    def __init__(
        self,
        method: MethodMeter,
        time_remaining: Callable[[], float | None] = lambda: None,
        tenant_ended: Counter[str] | None = None,
    ) -> None:
        self._method = method
        self._tenant_ended = tenant_ended
        self._time_remaining = time_remaining
        self._accepted_at: float | None = None
        self._is_attached = False
        self._has_item = False

    def accepted(self) -> None:
        """The gateway has taken on the call."""
        self._accepted_at = time.monotonic()
        self._method.accepted()

    def attached(self) -> None:
        """The RPC has attached to a call that another RPC began."""
        self._is_attached = True

    def cached(self, kind: str) -> None:
        """The call began a run that others may join (`new`), or joined one."""
        self._method.cached(kind)

    def item(self, size: int, *, transient: bool = False) -> None:
        """An item goes to the caller."""
        if not self._has_item:
            self._has_item = True
            if self._accepted_at is not None:
                took_s = time.monotonic() - self._accepted_at
                self._method.first_item(took_s, current_call().exemplar)
        if transient:
            self._method.transient(size)
        else:
            self._method.lasting(size)

    def response(self, size: int) -> None:
        """The only item of a unary call goes to the caller."""
        self._method.lasting(size)

    def ran(self, queue_wait_s: float, run_s: float) -> None:
        """The call has ended after so long in the queue and so long in a worker."""
        if self._accepted_at is not None:
            exemplar = current_call().exemplar
            self._method.queue_wait(queue_wait_s, exemplar)
            self._method.run(run_s, exemplar)

    def __enter__(self) -> CallMeter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            if self._accepted_at is not None:
                self._ended(OK)
            return
        reason = self._reason(error)
        if self._accepted_at is not None:
            self._ended(reason)
        elif reason != DISCONNECTED and not self._is_attached:
            self._method.refused(reason)

    def _ended(self, reason: str) -> None:
        label = self._method.ended(reason)
        if self._tenant_ended is not None:
            self._tenant_ended[label] += 1

    def _reason(self, error: BaseException) -> str:
        if isinstance(error, grpc.aio.AbortError) and error.__cause__ is not None:
            error = error.__cause__  # rpc/status.py sets it
        if isinstance(error, ForebayError):
            return error.reason
        if isinstance(error, asyncio.CancelledError):
            late = is_at_deadline(self._time_remaining())
            return DeadlineExceeded.reason if late else DISCONNECTED
        return InternalFault.reason
