"""The memory of a process during a piece of work."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import psutil

_SAMPLE_EVERY_S = 0.02
_MB = 1e6


@dataclass(frozen=True)
class Resident:
    """Resident memory in MB: before the work, and its peak during the work."""

    before: float
    peak: float


def resident_while(pid: int, happen: Callable[[], object]) -> Resident:
    """Samples a process's resident set every 20 ms until `happen` has returned."""
    process = psutil.Process(pid)
    before = peak = process.memory_info().rss
    over = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not over.wait(_SAMPLE_EVERY_S):
            peak = max(peak, process.memory_info().rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        happen()
    finally:
        over.set()
        sampler.join()
    return Resident(before / _MB, max(peak, process.memory_info().rss) / _MB)
