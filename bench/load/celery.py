"""`python -m bench.load.celery THREADS SECONDS`: Celery's own client, calling the tutorial's add.

Each thread makes its next call as soon as the last one is answered.
"""

from __future__ import annotations

import importlib
import sys
import threading
import time
from collections import Counter

from bench import load

_TIMEOUT_S = 30.0


def measured(threads: int, seconds: float) -> load.Load:
    """Calls from `threads` threads, each with one call in flight."""
    add = importlib.import_module("add_module").add_two_numbers
    window = load.Window(seconds)
    counted: list[float] = []
    calls: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    cpu_at_begin = time.process_time()

    def call() -> None:
        now = time.perf_counter()
        while now < window.end:
            begun = now
            try:
                assert add.apply_async((4, 6)).get(timeout=_TIMEOUT_S) == 10
                calls["answered"] += 1
            except Exception as error:
                failures[repr(error)] += 1
            now = time.perf_counter()
            if window.counts(now):
                counted.append(now - begun)

    callers = [threading.Thread(target=call) for _ in range(threads)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    cpu_s = time.process_time() - cpu_at_begin
    return load.of_times(counted, window, cpu_s, calls["answered"], failures)


if __name__ == "__main__":
    print(load.as_json(measured(int(sys.argv[1]), float(sys.argv[2]))))
