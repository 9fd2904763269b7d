"""Child processes that end with this one, however it dies.

Each has a line to this process, which it passes to `forebay_ledger.starter`; what a
child writes to it is heard here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping

_READ_BYTES = 1 << 16


class Child:
    """The process of a Python module, whose arguments are the line's number and `arguments`.

    `env` is set over this process's environment; `stdout` is as for `subprocess.Popen`.
    """

    def __init__(
        self, module: str, *arguments: str, env: Mapping[str, str], stdout: int | None = None
    ) -> None:
        self._module = module
        self._arguments = arguments
        self._env = env
        self._stdout = stdout
        self._process: asyncio.subprocess.Process | None = None
        self._line: socket.socket | None = None

    async def start(self) -> None:
        """Starts the process; the one before it, if any, has ended."""
        self._let_go()
        self._line, theirs = socket.socketpair()
        self._line.setblocking(False)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module, str(theirs.fileno()), *self._arguments),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._stdout,
                env={**os.environ, **self._env},
            )

    @property
    def code(self) -> int | None:
        """What the process ended with; None while it runs, or before it was started."""
        return self._process.returncode if self._process is not None else None

    async def ended(self) -> int:
        """Returns what the process ended with, when it has."""
        if self._process is None:
            raise RuntimeError("the process was not started")
        return await self._process.wait()

    async def said(self, word: str) -> str | None:
        """Returns None when the process has written the word; what else it wrote, at its end."""
        if self._line is None:
            raise RuntimeError("the process was not started")
        heard = b""
        while heard != word.encode():
            more = await asyncio.get_running_loop().sock_recv(self._line, _READ_BYTES)
            if not more:
                return heard.decode(errors="replace")
            heard += more
        return None

    async def stop(self, *steps: tuple[signal.Signals, float]) -> bool:
        """Sends each step's signal and waits for so many seconds; SIGKILL where none helped.

        Whether the first signal was enough.
        """
        process = self._process
        helped = True
        if process is not None and process.returncode is None:
            helped = await _stopped(process, steps)
        self._let_go()
        return helped

    def _let_go(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None


async def _stopped(
    process: asyncio.subprocess.Process, steps: tuple[tuple[signal.Signals, float], ...]
) -> bool:
    for number, (step, seconds) in enumerate(steps):
        process.send_signal(step)
        try:
            async with asyncio.timeout(seconds):
                await process.wait()
            return number == 0
        except TimeoutError:
            continue
    process.kill()
    await process.wait()
    return False
