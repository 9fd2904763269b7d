"""How many native threads a handler may keep busy: the cores, shared among the slots."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_info, threadpool_limits

_cores = os.cpu_count() or 1
_share = _cores
_limits: list[threadpool_limits] = []


def share_threads(slots: int) -> None:
    """Gives each of a worker's slots its part of the cores, at least one; BLAS is told, too.

    What `OPENBLAS_NUM_THREADS` and its like have set lower stays.
    Called in each process that runs handlers, before the first of them.
    """
    global _share
    _share = max(1, _cores // slots)
    most = min([_share, *(pool["num_threads"] for pool in threadpool_info())])
    _limits.append(threadpool_limits(most))


def unshare_threads() -> None:
    """Takes back what `share_threads` did, for a process that lives on without a worker."""
    global _share
    _share = _cores
    while _limits:
        _limits.pop().restore_original_limits()


def thread_share() -> int:
    """How many threads a handler may keep busy at a time; all cores outside of a worker."""
    return _share
