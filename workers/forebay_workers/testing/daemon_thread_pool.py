"""A thread pool like Celery's, except that its shutdown waits for handlers for at most 5 s.

A process can't exit before the threads of Celery's pool have ended. That suits a worker's own
process. In a test's process, a handler that never returns would block the test run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from celery.concurrency.base import BasePool, apply_target

from forebay_backends.process.thread_frames import current_frames, place_outside_library

STOP_TIMEOUT_S = 5.0


def _ignore(result: object) -> None:
    """The default callback."""


class TaskPool(BasePool):
    """Starts a daemon thread for each reserved task, which waits until a slot is free."""

    body_can_be_buffer = True
    signal_safe = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._slots = threading.BoundedSemaphore(self.limit)
        self._threads: set[threading.Thread] = set()
        self._running: set[int] = set()
        self._stopping = False

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        callback: Callable[..., Any] = _ignore,
        accept_callback: Callable[..., Any] | None = None,
        **_: Any,
    ) -> Any:
        """Starts a thread that runs the task when a slot is free."""
        task = (target, args, kwargs, callback, accept_callback)
        thread = threading.Thread(target=self._run, args=task, name="forebay-handler", daemon=True)
        self._threads.add(thread)
        thread.start()
        return thread

    def on_stop(self) -> None:
        """Starts no more tasks, and waits for the running ones for at most 5 s."""
        self._stopping = True
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for thread in tuple(self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def running(self) -> list[str]:
        """Returns file, line and function of each running handler."""
        frames = current_frames()
        return [
            place_outside_library(frames[thread])
            for thread in tuple(self._running)
            if thread in frames
        ]

    def _run(self, *task: Any) -> None:
        thread = threading.current_thread()
        try:
            with self._slots:
                if not self._stopping:
                    self._running.add(threading.get_ident())
                    apply_target(*task)
        finally:
            self._running.discard(threading.get_ident())
            self._threads.discard(thread)
