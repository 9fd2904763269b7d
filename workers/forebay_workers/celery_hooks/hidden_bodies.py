"""Keeps the bodies of messages out of Celery's log: those of ephemeral calls hold requests.

Celery logs the body of a message that it can't read, or whose task is not registered; at level
DEBUG, the start of each message that a pool gets.
"""

from __future__ import annotations

import logging
from typing import Any

from celery.worker.consumer import consumer

_celery: Any = consumer  # celery-types does not have its constants
_BODY_AT = {
    _celery.UNKNOWN_FORMAT: 0,
    _celery.UNKNOWN_TASK_ERROR: 1,
    _celery.INVALID_TASK_ERROR: 1,
    _celery.MESSAGE_DECODE_ERROR: 4,
    "TaskPool: Apply %s (args:%s kwargs:%s)": 1,
}
"""For each of Celery's format strings, the index of the argument that has the body."""


class HiddenBodies(logging.Filter):
    """For the loggers `celery.worker.consumer.consumer` and `celery.pool`."""

    def filter(self, record: logging.LogRecord) -> bool:
        at, given = _BODY_AT.get(str(record.msg)), record.args
        if at is not None and isinstance(given, tuple) and at < len(given):
            record.args = (*given[:at], "(not shown)", *given[at + 1 :])
        return True
