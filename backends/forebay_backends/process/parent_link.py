"""A child process's link to its parent, by which it notices that the parent has died."""

from __future__ import annotations

import os
import signal
import threading


def exit_with_parent(descriptor: int) -> None:
    """Sends this process SIGTERM when its parent has ended, even if the parent was killed.

    `descriptor` is one end of a pipe or socket. The parent holds the other end and writes nothing;
    when the parent ends, the kernel closes that end. (Linux sends its parent-death signal already
    when the *thread* that started this process ends, so it can't be used.)
    """
    os.set_inheritable(descriptor, False)
    threading.Thread(target=_terminate_at_end, args=(descriptor,), daemon=True).start()


def _terminate_at_end(descriptor: int) -> None:
    while os.read(descriptor, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
