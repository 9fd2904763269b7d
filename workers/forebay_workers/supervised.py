"""A worker that a parent process supervises: `python -m forebay_workers.supervised FD APP ARGS…`.

It runs `celery -A APP worker ARGS…` with two differences. It ignores Ctrl-C, which the
terminal sends to the parent too: the parent shuts things down in their order. And it shuts
down, as at SIGTERM, when the parent has ended: FD is its end of a socket to the parent.
"""

from __future__ import annotations

import signal
import sys
import warnings

from celery.app.utils import find_app
from celery.exceptions import SecurityWarning
from celery.signals import worker_ready

from forebay_backends.process.parent_link import exit_with_parent


def main() -> None:
    """Runs the worker; `sys.argv` has FD, APP and Celery's arguments."""
    parent_fd, name, *arguments = sys.argv[1:]
    exit_with_parent(int(parent_fd))
    # Celery warns of running as root because of pickle, which our workers do not accept.
    warnings.simplefilter("ignore", SecurityWarning)
    worker_ready.connect(_ignore_interrupts)
    find_app(name).worker_main(["worker", *arguments])


def _ignore_interrupts(**_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
