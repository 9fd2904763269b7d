"""Reports of a pool's children to the worker's main process, over one socket.

A child reports at the end of a task, and at most once a second. So what it counted survives it, and
a child that is killed loses the counts of a second, or of one task.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Sequence

_INTERVAL_S = 1.0
_MOST_VALUES = 2_000
"""In a report: each has some 20 bytes, and the system takes messages of 200 KB."""
_MOST_PENDING = 20_000
_RECEIVE_BYTES = 1 << 18

Labels = tuple[str, ...]
Observe = Callable[[str, Labels, Sequence[float]], None]
"""Gets a metric's name, its labels, and what a counter grows by or a histogram observes."""


class Reports:
    """Make it in the main process, before any fork."""

    def __init__(self) -> None:
        self._main, self._childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._childs.setblocking(False)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._pending: dict[tuple[str, Labels], list[float]] = {}
        self._count = 0
        self._sent_at = 0.0
        self._timer: threading.Timer | None = None

    def receive(self, observe: Observe) -> None:
        """Passes on what children report, in a thread of the main process."""
        name = "forebay-metrics"
        threading.Thread(target=self._receive, args=(observe,), name=name, daemon=True).start()

    def in_child(self) -> None:
        """Call this in a pool child after the fork."""
        self._main.close()  # so that reports fail when the main process has ended
        self._reset()

    def add(self, name: str, labels: Labels, value: float) -> None:
        """Adds an observation to the child's next report."""
        with self._lock:
            self._pending.setdefault((name, labels), []).append(value)
            self._count += 1
            if self._count >= _MOST_VALUES:
                self._send()

    def task_ended(self) -> None:
        """Reports now, or within a second."""
        with self._lock:
            if not self._count or self._timer is not None:
                return
            wait_s = self._sent_at + _INTERVAL_S - time.monotonic()
            if wait_s <= 0:
                self._send()
                return
            self._timer = threading.Timer(wait_s, self._on_timer)
            self._timer.daemon = True
            self._timer.start()

    def _on_timer(self) -> None:
        with self._lock:
            self._timer = None
            self._send()

    def _send(self) -> None:
        """Keeps what is pending if the main process is too slow, unless it is too much."""
        report = [[name, labels, values] for (name, labels), values in self._pending.items()]
        self._sent_at = time.monotonic()
        try:
            self._childs.send(json.dumps(report).encode())
        except BlockingIOError:
            if self._count < _MOST_PENDING:
                return
        except OSError:  # the main process has ended
            pass
        self._pending, self._count = {}, 0

    def _receive(self, observe: Observe) -> None:
        while True:
            for name, labels, values in json.loads(self._main.recv(_RECEIVE_BYTES)):
                observe(name, tuple(labels), values)
