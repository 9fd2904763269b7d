"""The CPU time of processes."""

from __future__ import annotations

from collections.abc import Iterable

import psutil


def family(pid: int) -> tuple[int, ...]:
    """A process and its living children, such as a worker's pool."""
    children = psutil.Process(pid).children(recursive=True)
    return (pid, *(child.pid for child in children))


def cpu_ms(pids: Iterable[int]) -> float:
    """The CPU time of the processes so far, user and system, in ms.

    The system counts in steps of 10 ms a process, so differences want seconds.
    """
    return sum(_own_ms(pid) for pid in pids)


def _own_ms(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system) * 1000
