"""Refuses gevent and eventlet, whose green threads all run in one thread of the system.

Each process that runs handlers has a thread that receives stops and credit, and the main process
has a thread that renews leases. Both threads run an event loop, and a system thread can run only
one loop. So a worker with green threads would never receive a cancellation.
"""

from __future__ import annotations

import threading

_ADVICE = (
    "Forebay's workers support the pools prefork, threads and solo, and Forebay's asyncio. For "
    "handlers that mostly wait, use `--pool threads --concurrency 100`. If they are coroutines "
    "(async def), set CELERY_CUSTOM_WORKER_POOL=forebay_workers.asyncio_pool:TaskPool and use "
    "`--pool custom --concurrency 100`. Plain Celery tasks can use {green} in a worker whose "
    "application is not Forebay's."
)


def green_threads_problem(pool: object) -> str | None:
    """Returns why a worker with this pool (a class, or its name) can't run; None if it can."""
    for green in ("gevent", "eventlet"):
        if green in str(pool):
            return f"the pool {green} is not supported. {_ADVICE.format(green=green)}"
    if _threads_are_green():
        return (
            "green threads have replaced Python's threads in this process. Remove the call of "
            f"`monkey.patch_all()` or `eventlet.monkey_patch()`. {_ADVICE.format(green='them')}"
        )
    return None


def _threads_are_green() -> bool:
    ids: list[int] = []
    thread = threading.Thread(target=lambda: ids.append(threading.get_native_id()))
    thread.start()
    thread.join()
    return ids == [threading.get_native_id()]
