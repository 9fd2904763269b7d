"""Commands in a terminal of a given width."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.forking import Forked, can_fork

TIMEOUT_S = 60.0
LINES = 50
STYLES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Shown:
    """What a command wrote to its terminal, as written and as lines without styles; its code."""

    raw: str
    code: int

    @property
    def lines(self) -> list[str]:
        """The lines, which the terminal would fold where they are wider than it."""
        return STYLES.sub("", self.raw).replace("\r\n", "\n").splitlines()


class Terminal:
    """A command that runs in a terminal; `read` returns what it has written since."""

    def __init__(
        self, command: list[str], env: dict[str, str], columns: int, lines: int, cwd: Path
    ) -> None:
        self._terminal, end = pty.openpty()
        self.resize(columns, lines)
        env = {"TERM": "xterm", **{k: v for k, v in env.items() if k not in ("COLUMNS", "LINES")}}
        with os.fdopen(end, "r+b", buffering=0) as stream:
            if can_fork(command, env):
                self.process: Forked | subprocess.Popen[bytes] = Forked(
                    command, env, cwd, stdin=stream, stdout=stream, stderr=stream
                )
            else:
                self.process = subprocess.Popen(
                    command, env=env, cwd=cwd, stdin=stream, stdout=stream, stderr=stream
                )

    def read(self) -> str:
        """What the command writes next; empty when it has ended."""
        try:
            return os.read(self._terminal, 1 << 16).decode()
        except OSError:  # Linux's word for: nobody writes to it any more
            return ""

    def press(self, keys: str) -> None:
        """Sends what the keys of a terminal send."""
        os.write(self._terminal, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Changes the size; the command gets no SIGWINCH, since it is not its terminal."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    @property
    def modes(self) -> list[Any]:
        """The terminal's modes, such as whether it echoes keys."""
        return termios.tcgetattr(self._terminal)

    def close(self) -> None:
        """Ends the command."""
        self.process.kill()
        self.process.wait(TIMEOUT_S)
        os.close(self._terminal)


@contextlib.contextmanager
def in_terminal(
    *command: str,
    env: dict[str, str],
    columns: int = 80,
    lines: int = LINES,
    cwd: Path | None = None,
) -> Iterator[Terminal]:
    """A command in a terminal, until the block ends."""
    terminal = Terminal(list(command), env, columns, lines, cwd or Path.cwd())
    try:
        yield terminal
    finally:
        terminal.close()


def shown(*command: str, env: dict[str, str], columns: int = 80, cwd: Path | None = None) -> Shown:
    """Runs a command to its end in a terminal."""
    with in_terminal(*command, env=env, columns=columns, cwd=cwd) as terminal:
        raw = "".join(iter(terminal.read, ""))
        return Shown(raw, terminal.process.wait(TIMEOUT_S) or 0)
