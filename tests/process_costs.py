"""The memory and CPU that a process takes; those of a gateway without workers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.cpu import cpu_ms
from tests.harness import environment, forebay_gateway, redis_server

_ROOT = Path(__file__).parents[1]


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


@contextlib.contextmanager
def gateway_alone(**settings: str) -> Iterator[tuple[ProcessCosts, str]]:
    """Runs a gateway without workers, with these variables; yields its costs and its address."""
    with redis_server() as url:
        env = environment(
            FOREBAY_LEDGER_URL=url, FOREBAY_LINGER_S="0", FOREBAY_DRAIN_S="0", **settings
        )
        with forebay_gateway(env=env, cwd=_ROOT) as (process, address):
            yield ProcessCosts(process.popen.pid), address
