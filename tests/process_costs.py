"""What a process takes of its machine."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil


class ProcessCosts:
    """The resident memory of a process, sampled, and its CPU."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.peak = 0

    @property
    def now(self) -> int:
        return int(self._process.memory_info().rss)

    @property
    def cpu_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    @contextlib.contextmanager
    def sampled(self) -> Iterator[None]:
        done = threading.Event()

        def sample() -> None:
            while not done.wait(0.005):
                self.peak = max(self.peak, self.now)

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            yield
        finally:
            done.set()
            sampler.join()
            self.peak = max(self.peak, self.now)
