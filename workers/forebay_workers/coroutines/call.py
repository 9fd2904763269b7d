"""A worker's state of a call whose handler is a coroutine.

Stops, credit and notices of requests arrive in other threads, as for ordinary handlers. Here they
wake the event loop: a stop cancels the handler's task, the others end `wait_for_change`. All
methods but those of `CallContext` run on the loop.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from forebay_backends.ledger.lifecycle import State
from forebay_workers.coroutines.status import CoroutineStatus
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interrupted import Stopped

_log = logging.getLogger(__name__)


class CoroutineCall(CallContext):
    """One attempt. As a `CallContext` it is the context of ordinary handlers that run beside it.

    `send_initial` sends the handler's initial metadata.
    """

    def __init__(
        self, *arguments: Any, send_initial: Callable[[bytes], Awaitable[None]], **options: Any
    ) -> None:
        super().__init__(*arguments, send_initial=self._send_from_thread, **options)
        self.status: CoroutineStatus = CoroutineStatus()
        self.changed = _LoopCondition(self._on_change)
        self.send_initial_to_caller = send_initial
        self.is_expired = False
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled: asyncio.Task[Any] | None = None
        self._deadline_timer: asyncio.TimerHandle | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._done_callbacks: list[Callable[[], None]] = []

    @property
    def initial_is_sent(self) -> bool:
        """Whether initial metadata, or a response, has been sent."""
        return self._initial_sent

    def begin(self) -> None:
        """Lets a stop cancel the current task from now on; raises Stopped if one came before."""
        self._task = asyncio.current_task()
        remaining_s = self.seconds_left
        if remaining_s is not None:
            self._deadline_timer = self._loop.call_later(remaining_s, self.expire)
        if self.stopped is not None:
            raise Stopped

    def end(self) -> None:
        """The handler has ended: a later stop does not cancel the task, which goes on."""
        self._task = None
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        if self._cancelled is not None:
            self._cancelled.uncancel()

    def expire(self) -> None:
        """Stops the call because its time is up."""
        if self.stopped is None and not self._finished:
            self.is_expired = True
            self.stop(str(State.EXPIRED))

    def add_done_callback(self, callback: Callable[[], None]) -> None:
        """Calls `callback` when the handler has ended."""
        self._done_callbacks.append(callback)

    def run_done_callbacks(self) -> None:
        """Runs the callbacks; the worker calls this when the handler has ended."""
        for callback in self._done_callbacks:
            try:
                callback()
            except Exception:
                _log.exception("call %s: a callback of its handler failed", self.call)

    async def wait_for_change(self, timeout_s: float) -> None:
        """Waits for credit, a notice of requests, or a stop.

        The caller checks for these first, with no `await` in between, or it could miss one.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.add(waiter)
        timer = self._loop.call_later(timeout_s, _wake, waiter)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiters.discard(waiter)

    def _on_change(self) -> None:
        # Cancels only once: the handler may wait while it cleans up. If the task itself is running,
        # it raises Stopped instead.
        if self.stopped is not None and self._task not in (None, asyncio.current_task()):
            self._cancelled, self._task = self._task, None
            self._cancelled.cancel()
        for waiter in self._waiters:
            _wake(waiter)

    def _send_from_thread(self, metadata: bytes) -> None:
        asyncio.run_coroutine_threadsafe(self._send(metadata), self._loop).result()

    async def _send(self, metadata: bytes) -> None:
        await self.send_initial_to_caller(metadata)


class _LoopCondition(threading.Condition):
    """A condition that also calls a function on the event loop that it was made on."""

    def __init__(self, on_notify: Callable[[], None]) -> None:
        super().__init__()
        self._on_notify = on_notify
        self._loop = asyncio.get_running_loop()
        self._loops_thread = threading.get_ident()

    def notify_all(self) -> None:
        super().notify_all()
        if threading.get_ident() == self._loops_thread:
            self._on_notify()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._on_notify)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
