"""A Redis, and a network link to it, that tests can break in several ways."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import redis

from tests.harness import (
    Process,
    answers,
    environment,
    eventually,
    free_port,
    redis_binary,
    short_folder,
)

_BUFFER_BYTES = 1 << 16
_TICK_S = 0.02


class Server:
    """A Redis server that keeps its port and its data when it is killed."""

    def __init__(self, folder: Path, appendfsync: str = "always") -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self.data = folder / "data"
        self.data.mkdir()
        self.client = redis.Redis(port=self.port, retry=None)
        self._appendfsync = appendfsync
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it; returns when it answers."""
        assert self._process is None
        command = [redis_binary(), "--port", str(self.port), "--bind", "127.0.0.1"]
        options = ["--save", "", "--appendonly", "yes", "--appendfsync", self._appendfsync]
        self._process = Process([*command, "--dir", str(self.data), *options], environment())
        eventually(lambda: answers(self.client), "the Redis server answers")

    def kill(self) -> None:
        """Ends it by SIGKILL, if it runs."""
        process, self._process = self._process, None
        if process is not None:
            process.stop(signal.SIGKILL)

    @contextlib.contextmanager
    def killed(self) -> Iterator[None]:
        """It is dead in the block, and started again after it."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops the process during the block; its connections stay open."""
        assert self._process is not None
        pid = self._process.popen.pid
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)

    @contextlib.contextmanager
    def refusing(self, into: str, out_of: str) -> Iterator[None]:
        """Makes it answer, but accept no writes, during the block."""
        self.do(into)
        try:
            yield
        finally:
            self.do(out_of)

    def do(self, command: str) -> Any:
        """Runs a command; returns its reply."""
        return self.client.execute_command(*command.split())

    def copy_data(self, to: Path) -> None:
        """Copies its files."""
        shutil.copytree(self.data, to)

    def restore(self, copy: Path) -> None:
        """Starts the killed server with the copied files."""
        shutil.rmtree(self.data)
        shutil.copytree(copy, self.data)
        self.start()


@contextlib.contextmanager
def server(appendfsync: str = "always") -> Iterator[Server]:
    """A server that runs until the block is left, unless it is killed before."""
    with short_folder() as folder:
        running = Server(folder, appendfsync)
        try:
            running.start()
            yield running
        finally:
            running.kill()
            running.client.close()


class Link:
    """A TCP proxy in front of a server, which can be slow, silent or cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.delay_s = 0.0
        self._silent = threading.Event()
        self._cut = threading.Event()
        self._closing = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @contextlib.contextmanager
    def silent(self) -> Iterator[None]:
        """Delays all bytes until the end of the block; connections stay open."""
        self._silent.set()
        try:
            yield
        finally:
            self._silent.clear()

    @contextlib.contextmanager
    def cut(self) -> Iterator[None]:
        """Breaks all connections, and refuses new ones, during the block."""
        self._cut.set()
        try:
            yield
        finally:
            self._cut.clear()

    def close(self) -> None:
        """Breaks all connections for good."""
        self._closing.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing.is_set():
            if not select.select([self._listener], [], [], _TICK_S)[0]:
                continue
            client, _ = self._listener.accept()
            if self._cut.is_set():
                client.close()
                continue
            thread = threading.Thread(target=self._pass_on, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _pass_on(self, client: socket.socket) -> None:
        with (
            client,
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port)) as server,
        ):
            other = {client: server, server: client}
            while not (self._closing.is_set() or self._cut.is_set()):
                if self._silent.is_set():
                    time.sleep(_TICK_S)
                    continue
                for end in select.select([*other], [], [], _TICK_S)[0]:
                    passed = end.recv(_BUFFER_BYTES)
                    if not passed:
                        return
                    time.sleep(self.delay_s)
                    other[end].sendall(passed)


@contextlib.contextmanager
def link(port: int) -> Iterator[Link]:
    """A link that lasts until the block is left."""
    made = Link(port)
    try:
        yield made
    finally:
        made.close()
