"""Running a client program to its end, and reading what it printed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from tests.forking import Forked, can_fork

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Ran:
    """The result of a program: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[Any]:
        """The JSON values on standard output, one after the other."""
        return list(json_values(self.out))

    def succeeded(self) -> Ran:
        """Returns itself; fails the test if the exit code is not 0."""
        assert self.code == 0, f"exit code {self.code}:\n{self.out}{self.err}"
        return self


def run(
    *command: str,
    env: dict[str, str],
    cwd: Path | None = None,
    stdin: str = "",
    timeout_s: float = TIMEOUT_S,
) -> Ran:
    """Runs the command to its end."""
    if can_fork(command, env):
        return _forked(command, env, cwd, stdin, timeout_s)
    done = subprocess.run(
        command,
        env=env,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def _forked(
    command: Sequence[str], env: dict[str, str], cwd: Path | None, stdin: str, timeout_s: float
) -> Ran:
    with TemporaryFile() as given, TemporaryFile() as out, TemporaryFile() as err:
        given.write(stdin.encode())
        given.seek(0)
        child = Forked(command, env, cwd, stdin=given, stdout=out, stderr=err)
        try:
            code = child.wait(timeout_s)
        finally:
            child.kill()
        texts = []
        for written in (out, err):
            written.seek(0)
            texts.append(written.read().decode())
    return Ran(code, *texts)


def json_values(text: str) -> Iterator[Any]:
    """The values of concatenated JSON documents."""
    decoder = json.JSONDecoder()
    rest = text.lstrip()
    while rest:
        value, end = decoder.raw_decode(rest)
        yield value
        rest = rest[end:].lstrip()
