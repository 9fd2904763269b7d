"""Shortens Celery's report of an error that ends a worker if a Redis user lacks a permission."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from forebay_backends.ledger.permissions import permission_fix


class MissingPermissions(logging.Filter):
    """For the logger `celery.worker`: names the missing ACL rule in place of a traceback.

    `prefix` begins the names of the broker's keys and channels.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        for cause in _causes(error):
            fix = permission_fix(cause, self._prefix)
            if fix is not None:
                record.msg, record.args, record.exc_info = "broker: %s; %s", (cause, fix), None
                break
        return True


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what caused it: kombu raises an error of its own."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
