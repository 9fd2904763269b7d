"""A thread's event loop that stands still while its process forks.

A fork has no thread but the one that made it. What another thread held at that moment,
the lock of a module that it was importing, say, is held in the child for ever.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from threading import Event

_PATIENCE_S = 1.0


class ForkPause:
    """Begins before a fork and ends after it, in the parent; nothing where no loop runs."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over = Event()

    def of_this_loop(self) -> None:
        """The loop that runs in this thread is the one to stand still."""
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Returns when the loop is between two callbacks, where it stays; or after 1 s."""
        if self._loop is None:
            return
        still, self._over = Event(), Event()
        with suppress(RuntimeError):  # it has been closed
            self._loop.call_soon_threadsafe(_stand, still, self._over)
            still.wait(_PATIENCE_S)

    def end(self) -> None:
        """The loop goes on."""
        self._over.set()


def _stand(still: Event, over: Event) -> None:
    still.set()
    over.wait()
