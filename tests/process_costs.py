"""What a process takes of its machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil

from bench.cpu import cpu_ms


class ProcessCosts:
    """The resident memory of a process, sampled, and its CPU."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak_rss_bytes = 0
        """The highest sample of the last `sampled()`."""

    @property
    def rss_bytes(self) -> int:
        return int(self._process.memory_info().rss)

    @property
    def cpu_s(self) -> float:
        return cpu_ms([self._process.pid]) / 1000

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        done = threading.Event()
        self.peak_rss_bytes = self.rss_bytes

        def sample() -> None:
            while not done.wait(0.005):
                self.peak_rss_bytes = max(self.peak_rss_bytes, self.rss_bytes)

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            yield
        finally:
            done.set()
            sampler.join()
            self.peak_rss_bytes = max(self.peak_rss_bytes, self.rss_bytes)
