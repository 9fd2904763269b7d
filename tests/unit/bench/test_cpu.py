"""The CPU time of processes."""

from __future__ import annotations

import os
import time

from bench.cpu import cpu_ms


def test_the_cpu_time_of_a_process_is_that_of_its_own_clock() -> None:
    before, own = cpu_ms([os.getpid()]), time.process_time()
    while time.process_time() < own + 0.02:
        pass
    spent_ms = (time.process_time() - own) * 1000
    assert 10 <= cpu_ms([os.getpid()]) - before <= spent_ms + 10
