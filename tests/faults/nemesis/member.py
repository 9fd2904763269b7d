"""A process of the cluster that is restarted whenever it ends."""

from __future__ import annotations

import contextlib
import os
import re
import signal as signals
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.harness import Process, eventually


class Member:
    """A process in a process group of its own, of which the same command makes another."""

    def __init__(
        self, name: str, command: Sequence[str], env: dict[str, str], ready: str, cwd: Path
    ) -> None:
        self.name = name
        self.starts = 0
        self.down = False
        """Whether it must not be restarted when it ends."""
        self._command = list(command)
        self._env = env
        self._ready = re.compile(ready)
        self._cwd = cwd
        self._process: Process | None = None
        self._old: list[Process] = []

    def keep_up(self) -> None:
        """Restarts it if it has ended, unless it must stay down."""
        if self.runs:
            return
        if self._process is not None:
            self._old.append(self._process)
            self._process = None
        if not self.down:
            self._process = Process(self._command, self._env, self._cwd)
            self.starts += 1

    @property
    def runs(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.popen.poll() is None

    @property
    def ready(self) -> bool:
        """Whether it runs, and has reported that it is ready."""
        lines = tuple(self._process.lines) if self._process is not None else ()
        return self.runs and any(self._ready.search(line) for line in lines)

    @property
    def output(self) -> str:
        """The output of all its processes so far."""
        lives = (*self._old, *([self._process] if self._process else ()))
        return "\n".join(f"==== life {n}\n{life.output}" for n, life in enumerate(lives, 1))

    def children(self) -> list[psutil.Process]:
        """The processes that it started: a worker's pool children."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self._process.popen.pid).children(recursive=True)
        return []

    def signal(self, number: signals.Signals) -> None:
        """Signals the process alone."""
        if self._process is not None and self.runs:
            self._process.popen.send_signal(number)

    def signal_all(self, number: signals.Signals) -> None:
        """Signals its process group, so its children, too."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.popen.pid, number)

    def end(self, timeout_s: float = 30.0) -> bool:
        """Ends it by SIGTERM for good; False if it had to be killed."""
        self.down = True
        self.signal_all(signals.SIGCONT)
        self.signal(signals.SIGTERM)
        process = self._process
        if process is None:
            return True
        try:
            eventually(lambda: process.popen.poll() is not None, "it ends", timeout_s)
        except AssertionError:
            self.signal_all(signals.SIGKILL)
            process.popen.wait()
            return False
        return True
