"""A worker that belongs to another process: `python -m forebay_workers.supervised FD ARGS…`.

It runs `celery worker ARGS…` with two differences. It shares a terminal's process
group with its starter and leaves Ctrl-C to it, which stops things in their order.
And it ends, as at SIGTERM, when its starter is gone: FD is its end of the line to it.
"""

from __future__ import annotations

import signal
import sys
import warnings

from celery.exceptions import SecurityWarning
from celery.signals import worker_ready

from forebay_ledger.starter import end_with_starter
from forebay_workers.celery import app


def main() -> None:
    """Runs the worker; the process's arguments are FD and Celery's."""
    end_with_starter(int(sys.argv[1]))
    # It warns of root because of pickle, which no worker of ours accepts.
    warnings.simplefilter("ignore", SecurityWarning)
    worker_ready.connect(_leave_interrupts_to_starter)
    app.worker_main(["worker", *sys.argv[2:]])


def _leave_interrupts_to_starter(**_: object) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


if __name__ == "__main__":
    main()
