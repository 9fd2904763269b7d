"""The attempts of one call: the part that `grpc` and `grpc.aio` share."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import grpc

from forebay.metadata import ATTACHED, CALL_ID
from forebay.resume.policy import ResumePolicy
from forebay.resume.request_replay import AsyncReplay, Replay
from forebay.rpc_errors import of_rpc_error

_log = logging.getLogger(__name__)


class Event(Protocol):
    """An event of `threading` or `asyncio`."""

    def is_set(self) -> bool: ...

    def set(self) -> None: ...


class Attempts:
    """Starts each attempt with the multi-callable of its target.

    When the caller cancels the call before its end, `_cancelled` is set and `on_cancel` is called.
    """

    _new_event: ClassVar[Callable[[], Event]]
    _cancelled: Event

    def __init__(
        self,
        policy: ResumePolicy,
        multicallables: Sequence[Any],
        request: Any,
        options: Mapping[str, Any],
        on_cancel: Callable[[ResumePolicy], None],
    ) -> None:
        self._cancelled = type(self)._new_event()  # first, so that a pickled call is a TypeError
        self.policy = policy
        self.is_over = False
        self._multicallables = multicallables
        self._request = request
        self._options = options
        self._on_cancel = on_cancel

    @property
    def is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def start(self, entry_point: str = "__call__") -> Any:
        """Starts the next attempt with the method `entry_point` of the multi-callable."""
        attempt = self.policy.attempt()
        request = self._request
        if isinstance(request, (Replay, AsyncReplay)):
            request = request.replay() if attempt.sends_requests else iter(())
        return getattr(self._multicallables[attempt.target], entry_point)(
            request, timeout=attempt.timeout_s, metadata=attempt.metadata, **self._options
        )

    def on_response(self, response: object) -> None:
        self.policy.on_response(response)
        if isinstance(self._request, (Replay, AsyncReplay)) and not self.policy.sends_requests:
            self._request.release()

    def retry_delay_s(self, failed: grpc.RpcError, initial_metadata: Any) -> float | None:
        """Seconds to wait before the next attempt; None if there is none."""
        if self.is_cancelled:
            return None
        error = of_rpc_error(failed)
        initial = dict(initial_metadata or ())
        delay_s = self.policy.on_failure(
            error, accepted=ATTACHED in initial, call_id=initial.get(CALL_ID)
        )
        if delay_s is not None:
            _log.info("retrying in %.2g s: %s", delay_s, error)
        return delay_s

    def cancel(self) -> None:
        if not (self.is_over or self.is_cancelled):
            self._cancelled.set()
            self._on_cancel(self.policy)


def weakly(method: Callable[[Any], None]) -> Callable[[Any], None]:
    """Wraps a bound method as a callback that does not keep the method's object alive."""
    reference = weakref.WeakMethod(method)

    def call(argument: Any) -> None:
        alive = reference()
        if alive is not None:
            alive(argument)

    return call


def call_all(callbacks: Iterable[Callable[[], None]]) -> None:
    """Calls the callbacks in order. An exception is logged and does not stop the others."""
    for callback in callbacks:
        try:
            callback()
        except Exception:
            _log.exception("a callback of a call raised")
