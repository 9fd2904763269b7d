"""Processes of `forebay` and `celery`, started by the test session's fork server."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from tests.fork_server import PROGRAMS

_START_TIMEOUT_S = 60.0
_ENABLED = threading.Event()


def enable() -> None:
    """From now on this process starts programs by the fork server, if possible."""
    _ENABLED.set()


def can_fork(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether the fork server has the command's program, and the Python is the same."""
    return (
        _ENABLED.is_set()
        and Path(command[0]).name in PROGRAMS
        and _is_ours(command[0], env)
        and _of_python(env) == _of_python(os.environ)
        and "CELERY_CUSTOM_WORKER_POOL" not in env  # Celery reads it when it is imported
    )


def _is_ours(program: str, env: Mapping[str, str]) -> bool:
    """Whether the program is in this process's environment, not in one with the wheel."""
    found = shutil.which(program, path=env.get("PATH"))
    return found is not None and Path(found).parent == Path(sys.executable).parent


def _of_python(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that Python reads when it starts."""
    return {name: value for name, value in env.items() if name.startswith("PYTHON")}


class Forked:
    """A process with a session of its own, as `subprocess.Popen` has it, as far as tests use that.

    `stdin`, `stdout` and `stderr` are files; they may be closed here when it has been made.
    """

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        cwd: Path | None,
        *,
        stdin: IO[Any],
        stdout: IO[Any],
        stderr: IO[Any],
    ) -> None:
        self.returncode: int | None = None
        self._ended = threading.Event()
        asked = {"command": list(command), "env": dict(env), "cwd": str(cwd or Path.cwd())}
        self.pid = _server().start(self, asked, [stdin.fileno(), stdout.fileno(), stderr.fileno()])

    def has_ended(self, code: int) -> None:
        """Records the exit code that the fork server has reported."""
        self.returncode = code
        self._ended.set()

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, when it has ended; raises TimeoutExpired."""
        if not self._ended.wait(timeout) or self.returncode is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0.0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Sends a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self.send_signal(signal.SIGKILL)


class _Server:
    """The fork server, which ends with this process."""

    def __init__(self) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, Path(__file__).with_name("fork_server.py"), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._asking = threading.Lock()
        self._started: SimpleQueue[int] = SimpleQueue()
        self._running: dict[int, Forked] = {}
        self._knowing = threading.Lock()
        self._early: dict[int, int] = {}  # that ended before they were known here
        threading.Thread(target=self._hear, daemon=True).start()
        atexit.register(self._end)

    def start(self, forked: Forked, asked: dict[str, Any], streams: list[int]) -> int:
        """Starts the process; its id."""
        with self._asking:
            text = json.dumps(asked).encode() + b"\n"
            sent = socket.send_fds(self._line, [text], streams)
            self._line.sendall(text[sent:])
            pid = self._started.get(timeout=_START_TIMEOUT_S)
        with self._knowing:
            if pid in self._early:
                forked.has_ended(self._early.pop(pid))
            else:
                self._running[pid] = forked
        return pid

    def _hear(self) -> None:
        with self._line.makefile("rb") as replies:
            for text in replies:
                word = json.loads(text)
                if "pid" in word:
                    self._started.put(word["pid"])
                else:
                    self._has_ended(word["ended"], word["code"])

    def _has_ended(self, pid: int, code: int) -> None:
        with self._knowing:
            forked = self._running.pop(pid, None)
            if forked is None:
                self._early[pid] = code
            else:
                forked.has_ended(code)

    def _end(self) -> None:
        self._line.shutdown(socket.SHUT_RDWR)
        self._process.wait()
        self._line.close()


@lru_cache(1)
def _server() -> _Server:
    return _Server()
