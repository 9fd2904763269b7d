"""Distinguishes the end of a worker's process from an exception of a handler.

A handler that calls `sys.exit()` only fails its call. But Celery also raises SystemExit, to end the
process: as WorkerShutdown or WorkerTerminate, and in a child of the prefork pool from billiard's
handler of SIGTERM. Such an exception must pass through the handler and end the process.
"""

from __future__ import annotations

from billiard.common import terminate_handler_fired  # type: ignore[attr-defined] # in no stub
from celery.exceptions import WorkerShutdown, WorkerTerminate

CLOSE_TIMEOUT_S = 5.0
"""How long the end of a process waits for each of Forebay's threads."""


def ends_process(error: BaseException) -> bool:
    """Whether the process is ending: an exception is then not the handler's failure."""
    return isinstance(error, (WorkerShutdown, WorkerTerminate)) or terminate_handler_fired()
