"""Runs a server for as long as a pipe is held open: `guard.py PIPE_FD REMOVE -- COMMAND …`.

The process that starts the guard holds the pipe's other end. When that process has
ended, even if it was killed, the pipe is closed. The guard then ends the server with
SIGTERM, so that the server writes its data. Last, it deletes the folder REMOVE, unless
that argument is the empty string. The guard has a session of its own, so a terminal's
Ctrl-C reaches neither it nor the server. It uses only the standard library, and is run
as a file, so that it starts in a few ms.
"""

from __future__ import annotations

import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys

STOP_TIMEOUT_S = 10.0
_PR_SET_PDEATHSIG = 1


def _die_with_the_guard() -> None:
    """Runs in the server's process: on Linux, it gets SIGTERM if the guard itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def guard(pipe: int, remove: str, command: list[str]) -> int:
    """Runs the server until it ends or the pipe is closed; returns the server's exit code."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # The server inherits that these signals are ignored, and then sets its own handlers.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_the_guard)
    while server.poll() is None:
        ready, _, _ = select.select([pipe], [], [], 1.0)
        if ready and not os.read(pipe, 1):
            break
    server.terminate()
    try:
        server.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    if remove:
        shutil.rmtree(remove, ignore_errors=True)
    return server.returncode


if __name__ == "__main__":
    _, pipe_fd, remove_folder, _, *server_command = sys.argv
    sys.exit(guard(int(pipe_fd), remove_folder, server_command))
