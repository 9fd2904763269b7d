"""Logs which handler blocks the event loop for over 1 s, once for each method.

Four times a second, a thread schedules a callback on the loop. If the callback does not run for a
second and the same task runs all the time, that task blocks the loop. So a block of 1.25 s is
always named, and one of less than a second never.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from typing import Any
from weakref import WeakKeyDictionary

from forebay_backends.process.thread_frames import current_frames, place_outside_library
from forebay_backends.telemetry.call_labels import NO_CALL, CallLabels, Labelled, current_call

BLOCKED_S = 1.0
_CHECKS = 4
_PROBES = 4
"""How often a callback is scheduled in the time after which a loop counts as blocked."""

_log = logging.getLogger(__name__)


class BlockedLoopWatch:
    """Watches a loop until `close`; `thread` is the identifier of the loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, thread: int, blocked_s: float = BLOCKED_S
    ) -> None:
        self._loop = loop
        self._blocked_s = blocked_s
        self._labels: WeakKeyDictionary[asyncio.Task[Any], CallLabels] = WeakKeyDictionary()
        self._named: set[str] = set()
        self._closing = threading.Event()
        self._loops_thread = thread
        self._thread = threading.Thread(target=self._run, name="forebay-loop-watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tells the thread to end, and does not wait for it."""
        self._closing.set()

    def new_task(
        self, loop: asyncio.AbstractEventLoop, run: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        """The loop's task factory: labels a task with the call whose handler creates it."""
        task: asyncio.Task[Any] = asyncio.Task(run, loop=loop, **options)
        labels = current_call()
        if labels is not NO_CALL:
            self._labels[task] = labels
        return task

    def label_current_task(self) -> None:
        """Records that the current task runs the handler of the current call."""
        task = asyncio.current_task()
        if task is not None:
            self._labels[task] = current_call()

    def _run(self) -> None:
        while not self._closing.wait(self._blocked_s / _PROBES):
            alive = threading.Event()
            try:
                self._loop.call_soon_threadsafe(alive.set)
            except RuntimeError:
                return  # the loop is closed
            self._look(alive)

    def _look(self, alive: threading.Event) -> None:
        """Reports the task that runs at every check, unless `alive` is set meanwhile."""
        blocking = asyncio.current_task(self._loop)
        for _ in range(_CHECKS):
            if alive.wait(self._blocked_s / _CHECKS):
                return
            if asyncio.current_task(self._loop) is not blocking:
                break  # another task runs: loop or machine is busy, not blocked
        else:
            self._report(blocking)
        while not alive.wait(self._blocked_s):
            if self._closing.is_set():
                return

    def _report(self, task: asyncio.Task[Any] | None) -> None:
        labels = NO_CALL if task is None else self._labels.get(task, NO_CALL)
        if labels.method in self._named:
            return
        self._named.add(labels.method)
        handler = f"the handler of {labels.method}" if labels.method else "a callback"
        with Labelled(labels):
            _log.warning(
                "%s has blocked the event loop for over %g s, at %s; the other coroutines of this "
                "process wait. Await it, or run it in a thread by `await asyncio.to_thread(…)`",
                handler,
                self._blocked_s,
                self._where(),
            )

    def _where(self) -> str:
        frame = current_frames().get(self._loops_thread)
        return "an unknown place" if frame is None else place_outside_library(frame)
