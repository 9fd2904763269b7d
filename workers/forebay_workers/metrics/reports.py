"""Reports of a pool's children to the worker's main process, over one socket.

A child reports at the end of each task. So what it counted survives it, and a child that is killed
loses the counts of one task.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from typing import Any

_MOST_IN_A_REPORT = 500
"""Each has up to some 200 bytes, and the system takes reports of 200 KB."""
_MOST_PENDING = 10_000
_RECEIVE_BYTES = 1 << 18

Observe = Callable[[str, tuple[str, ...], float], None]
"""Gets a metric's name, its labels, and what a counter grows by or a histogram observes."""


class Reports:
    """Make it in the main process, before any fork."""

    def __init__(self) -> None:
        self._main, self._childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._childs.setblocking(False)
        self._pending: list[Any] = []
        self._lock = threading.Lock()

    def receive(self, observe: Observe) -> None:
        """Passes on what children report, in a thread of the main process."""
        name = "forebay-metrics"
        threading.Thread(target=self._receive, args=(observe,), name=name, daemon=True).start()

    def in_child(self) -> None:
        """To be called in a child after the fork."""
        self._main.close()  # so that reports fail when the main process has ended
        self._pending = []
        self._lock = threading.Lock()

    def add(self, name: str, labels: tuple[str, ...], value: float) -> None:
        """Adds an observation to the child's next report."""
        with self._lock:
            self._pending.append((name, labels, value))
            if len(self._pending) >= _MOST_IN_A_REPORT:
                self._send()

    def send(self) -> None:
        """Sends what is pending; keeps it if the main process is too slow."""
        with self._lock:
            if self._pending:
                self._send()

    def _send(self) -> None:
        while self._pending:
            report = self._pending[:_MOST_IN_A_REPORT]
            try:
                self._childs.send(json.dumps(report).encode())
            except BlockingIOError:
                del self._pending[:-_MOST_PENDING]
                return
            except OSError:
                self._pending.clear()
                return
            del self._pending[: len(report)]

    def _receive(self, observe: Observe) -> None:
        while True:
            for name, labels, value in json.loads(self._main.recv(_RECEIVE_BYTES)):
                observe(name, tuple(labels), value)
