"""Distinguishes the end of a worker's process from an exception of a handler.

`sys.exit()` in a handler fails its call. SystemExit also ends the process itself: Celery raises
WorkerShutdown and WorkerTerminate, and in a child of the prefork pool billiard's handler of
SIGTERM calls `sys.exit`. Those must pass through the handler.
"""

from __future__ import annotations

from billiard.common import terminate_handler_fired  # type: ignore[attr-defined] # in no stub
from celery.exceptions import WorkerShutdown, WorkerTerminate

CLOSE_TIMEOUT_S = 5.0
"""How long the end of a process waits for each of Forebay's threads."""


def ends_process(error: BaseException) -> bool:
    """Whether the process is ending: an exception is then not the handler's failure."""
    return isinstance(error, (WorkerShutdown, WorkerTerminate)) or terminate_handler_fired()
