"""Runs a server for as long as a pipe is held open: `guard.py PIPE_FD REMOVE -- COMMAND …`.

The process that starts the guard holds the pipe's other end. When that process has
ended, even if it was killed, the pipe is closed. The guard then ends the server with
SIGTERM, so that it writes its data, and removes the folder REMOVE (if that is not
empty). The guard has a session of its own, so a terminal's Ctrl-C reaches neither it
nor the server. It uses only the standard library, and is run as a file, so that it
starts in a few ms.
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
    """On Linux, sends the server SIGTERM if the guard itself is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def guard(pipe: int, remove: str, command: list[str]) -> int:
    """Returns the server's exit code when it has ended, by itself or because of the pipe."""
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    # Signals that are ignored stay so through exec; the server sets its own handlers.
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
