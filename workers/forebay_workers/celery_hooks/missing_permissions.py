"""Celery's reports of an error name the ACL rule that a Redis user lacks, if it is one."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from forebay_backends.ledger.permissions import permission_fix


class MissingPermissions(logging.Filter):
    """For the loggers `celery.worker` and `celery.worker.consumer.consumer`.

    `prefix` begins the names of the broker's keys and channels.
    """

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if said := self._said(error):
            record.msg, record.args, record.exc_info = "broker: %s", (said,), None
        elif isinstance(record.args, tuple):
            record.args = tuple(self._said(arg) or arg for arg in record.args)
        return True

    def _said(self, error: object) -> str | None:
        """The refusal and the rule that would allow it; None for anything else."""
        for cause in _causes(error):
            fix = permission_fix(cause, self._prefix)
            if fix is not None:
                return f"{cause}; {fix}"
        return None


def _causes(error: object) -> Iterator[BaseException]:
    """The error and what caused it: kombu raises an error of its own."""
    while isinstance(error, BaseException):
        yield error
        error = error.__cause__ or error.__context__
