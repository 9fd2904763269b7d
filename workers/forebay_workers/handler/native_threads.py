"""The number of native threads per handler: a worker's slots share the machine's cores."""

from __future__ import annotations

import os

from threadpoolctl import threadpool_info, threadpool_limits

_cores = os.cpu_count() or 1
_share = _cores
_limits: list[threadpool_limits] = []


def share_threads(slots: int) -> None:
    """Divides the cores among a worker's slots, at least one each, and limits BLAS to that share.

    A lower limit, such as one from `OPENBLAS_NUM_THREADS`, is kept. Each process that runs
    handlers calls this before its first handler.
    """
    global _share
    _share = max(1, _cores // slots)
    most = min([_share, *(pool["num_threads"] for pool in threadpool_info())])
    _limits.append(threadpool_limits(most))


def unshare_threads() -> None:
    """Undoes `share_threads`, for a process that goes on without a worker."""
    global _share
    _share = _cores
    while _limits:
        _limits.pop().restore_original_limits()


def thread_share() -> int:
    """Returns how many threads a handler may keep busy; outside a worker, one per core."""
    return _share
