"""A child process that ends when its parent does, even if the parent is killed.

Each child gets one end of a socket pair and passes it to
`forebay_backends.process.parent_link`; the child may also write to it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence

_READ_BYTES = 1 << 16

StopStep = tuple[signal.Signals, float]
"""A signal, and how many seconds the process gets to end after it."""


class ChildProcess:
    """Runs a Python module with the socket's file descriptor and `arguments` as its arguments.

    `env` is added to this process's environment; `stdout` is as for `subprocess.Popen`. With
    `own_group`, a terminal's Ctrl-C does not reach the process.
    """

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str],
        stdout: int | None = None,
        own_group: bool = False,
    ) -> None:
        self._module = module
        self._arguments = arguments
        self._env = env
        self._stdout = stdout
        self._own_group = own_group
        self._process: asyncio.subprocess.Process | None = None
        self._link: socket.socket | None = None

    async def start(self) -> None:
        """Starts the process. Any earlier one must have ended."""
        self._close_link()
        self._link, childs_end = socket.socketpair()
        self._link.setblocking(False)
        with childs_end:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._module, str(childs_end.fileno()), *self._arguments),
                pass_fds=(childs_end.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=self._stdout,
                process_group=0 if self._own_group else None,
                env={**os.environ, **self._env},
            )

    @property
    def exit_code(self) -> int | None:
        """None while the process runs, and before it was started."""
        return self._process.returncode if self._process is not None else None

    async def wait(self) -> int:
        """Returns the exit code when the process has ended."""
        if self._process is None:
            raise RuntimeError("the process was not started")
        return await self._process.wait()

    async def read_until(self, word: str) -> str | None:
        """Returns None once the process has written `word`; if it ends first, what it wrote."""
        if self._link is None:
            raise RuntimeError("the process was not started")
        received = b""
        while received != word.encode():
            more = await asyncio.get_running_loop().sock_recv(self._link, _READ_BYTES)
            if not more:
                return received.decode(errors="replace")
            received += more
        return None

    def send_signal(self, number: signal.Signals) -> None:
        """Sends the signal, unless the process has ended or was not started."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self, steps: Sequence[StopStep]) -> bool:
        """Takes the steps in turn until the process ends; kills it if none is enough.

        Returns whether the first step was enough.
        """
        process = self._process
        is_clean = True
        if process is not None and process.returncode is None:
            is_clean = await _stopped(process, steps)
        self._close_link()
        return is_clean

    def _close_link(self) -> None:
        if self._link is not None:
            self._link.close()
            self._link = None


async def _stopped(process: asyncio.subprocess.Process, steps: Sequence[StopStep]) -> bool:
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
