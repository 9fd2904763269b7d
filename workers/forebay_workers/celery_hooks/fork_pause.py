"""Pauses a thread's event loop while its process forks.

A forked child has only the thread that called fork. A lock that another thread held at that
moment, such as the lock of a module that it was importing, stays locked in the child.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event

_PAUSE_TIMEOUT_S = 1.0


class ForkPause:
    """Pauses a loop from before a fork until after it; has no effect without a running loop."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._resume = Event()

    def attach(self) -> None:
        """Selects the calling thread's running loop as the one to pause."""
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Pauses the loop between two callbacks; gives up after 1 s."""
        if self._loop is None:
            return
        paused, self._resume = Event(), Event()
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_pause, paused, self._resume)
            paused.wait(_PAUSE_TIMEOUT_S)

    def end(self) -> None:
        self._resume.set()


def _pause(paused: Event, resume: Event) -> None:
    paused.set()
    resume.wait()
