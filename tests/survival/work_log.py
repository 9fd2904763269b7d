"""Logs when handlers worked, to a file that all processes append to, a line at a time.

A line is one `write` to a file opened for appending, so lines of several processes
never mix, and a process that is killed has written all it said. Times are of the
monotonic clock, which the processes of one machine share.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

PATH_VARIABLE = "SURVIVAL_LOG"
MEMBER_VARIABLE = "SURVIVAL_MEMBER"
BEAT_EVERY_S = 0.1


@dataclass
class Run:
    """One run of a handler: by which process of which member, and when it worked."""

    id: str
    call: str
    member: str
    pid: int
    beats: list[float] = field(default_factory=list)
    ended: bool = False


class Worklog:
    """One run's entries, as its handler writes them."""

    def __init__(self, call: str) -> None:
        self.run = uuid.uuid4().hex
        self._call = call
        self._last = 0.0
        self._file = os.open(os.environ[PATH_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def beat(self) -> None:
        """Records that the handler is working."""
        now = time.monotonic()
        if now - self._last >= BEAT_EVERY_S:
            self._last = now
            self._write("beat")

    def close(self, *, ended: bool) -> None:
        """Records that the handler has stopped; `ended` if it finished by itself."""
        self._write("end" if ended else "stop")
        os.close(self._file)

    def _write(self, word: str) -> None:
        member = os.environ.get(MEMBER_VARIABLE, "-")
        line = f"{time.monotonic():.3f} {word} {self.run} {self._call} {member} {os.getpid()}\n"
        os.write(self._file, line.encode())


@contextmanager
def working(call: str) -> Iterator[Worklog]:
    """The log of a run that begins now and ends with the block."""
    log = Worklog(call)
    log.beat()
    ended = False
    try:
        yield log
        ended = True
    finally:
        log.close(ended=ended)


def read_runs(path: Path) -> list[Run]:
    """All runs, in the order in which they began."""
    runs: dict[str, Run] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        at, word, run_id, call, member, pid = line.split()
        run = runs.setdefault(run_id, Run(run_id, call, member, int(pid)))
        if word == "beat":
            run.beats.append(float(at))
        run.ended = run.ended or word == "end"
    return list(runs.values())
