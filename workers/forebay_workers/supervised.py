"""A worker that belongs to another process: `python -m forebay_workers.supervised FD APP ARGS…`.

It runs `celery -A APP worker ARGS…` with two differences. It shares a terminal's process
group with its starter and leaves Ctrl-C to it, which stops things in their order.
And it ends, as at SIGTERM, when its starter is gone: FD is its end of the line to it.
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
    """Runs the worker; the process's arguments are FD, APP and Celery's."""
    line, name, *arguments = sys.argv[1:]
    exit_with_parent(int(line))
    # It warns of root because of pickle, which no worker of ours accepts.
    warnings.simplefilter("ignore", SecurityWarning)
    worker_ready.connect(_leave_interrupts_to_starter)
    find_app(name).worker_main(["worker", *arguments])


def _leave_interrupts_to_starter(**_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
