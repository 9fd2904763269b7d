"""A process's end of the line to the process that started it."""

from __future__ import annotations

import os
import signal
import threading


def exit_with_parent(line: int) -> None:
    """From now on this process ends, as at SIGTERM, when its starter is gone.

    The starter holds the other end of `line`, a pipe or a socket, and writes nothing: it
    reads as ended when the starter has, however that died. (Linux's parent-death signal
    would come when the *thread* that started this process ends.)
    """
    os.set_inheritable(line, False)
    threading.Thread(target=_wait_and_end, args=(line,), daemon=True).start()


def _wait_and_end(line: int) -> None:
    while os.read(line, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
