"""Shortens Celery's report that a worker often connects to its broker again."""

from __future__ import annotations

import logging

from billiard.exceptions import RestartFreqExceeded


class FrequentRestarts(logging.Filter):
    """For the logger `celery.worker.consumer.consumer`: leaves the traceback out.

    It says nothing about the reason, which the line before has.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], RestartFreqExceeded):
            record.exc_info = None
        return True
