"""A worker that a parent process supervises:
`python -m forebay_workers.supervised FD NAME APP ARGS…`.

It runs `celery -A APP worker ARGS…` with four differences:

- It accepts `--pool=asyncio`.
- It ignores Ctrl-C. The terminal sends Ctrl-C to the parent too, which shuts down its processes in
  order.
- It shuts down, as after SIGTERM, when the parent has ended. FD is its end of a socket to the
  parent.
- Its log fits into the parent's: each line shows NAME, and the lines that Celery and Forebay write
  for each task are left out.
"""

from __future__ import annotations

import logging
import signal
import sys
import warnings
from typing import Any

from celery.app.utils import find_app
from celery.exceptions import SecurityWarning
from celery.signals import after_setup_logger, worker_ready

from forebay_backends.process.parent_link import exit_with_parent

ASYNCIO = "--pool=asyncio"

_LIBRARIES = ("celery", "kombu", "amqp", "redis", "forebay_workers", "forebay_backends", "forebay")


def main() -> None:
    """Runs the worker; `sys.argv` has FD, NAME, APP and Celery's arguments."""
    parent_fd, name, application, *arguments = sys.argv[1:]
    exit_with_parent(int(parent_fd))
    # Celery warns about running as root because of pickle, which our workers do not accept.
    warnings.simplefilter("ignore", SecurityWarning)
    worker_ready.connect(_ignore_interrupts)
    after_setup_logger.connect(_quieten_libraries)
    app = _found(application)
    line = f"%(asctime)s [{name}] %(levelname)s %(name)s: %(message)s"
    app.add_defaults(lambda: {"worker_log_format": line, "worker_task_log_format": line})
    if ASYNCIO in arguments:
        # Celery's `--pool` accepts only the names of Celery's own pools.
        arguments.remove(ASYNCIO)
        app.conf.worker_pool = "forebay_workers.asyncio_pool:TaskPool"
    app.worker_main(["worker", *arguments])


def _found(path: str) -> Any:
    """The application, named as for `celery -A`; exits with one line if there is none.

    An error inside the application's modules keeps its traceback.
    """
    try:
        return find_app(path)
    except ModuleNotFoundError as error:
        # If MODULE has no attribute APP, Celery imports "MODULE:APP" as a module's name.
        if not f"{path}:".startswith((f"{error.name}.", f"{error.name}:")):
            raise
        sys.exit(f"--app {path}: this folder and Python's path have no {error.name}")


def _quieten_libraries(loglevel: int, **_: object) -> None:
    if loglevel > logging.DEBUG:
        for library in _LIBRARIES:
            logging.getLogger(library).setLevel(max(loglevel, logging.WARNING))


def _ignore_interrupts(**_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
