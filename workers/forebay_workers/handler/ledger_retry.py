"""Retries operations while the ledger is unavailable."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.ledger.errors import RETRY_DELAY_S, RETRY_FOR_S
from forebay_workers.handler.interrupted import Interrupted

_log = logging.getLogger(__name__)

# One for all handlers of a process, or each would log every outage.
outage = OutageLog(
    _log, "the ledger does not answer; calls of this process wait", "the ledger answers again"
)

T = TypeVar("T")


class LedgerUnavailable(Interrupted):
    """The ledger stayed unavailable for too long; the attempt is lost."""


def retry_while_unavailable(operation: Callable[[], T]) -> T:
    """Retries until the ledger answers; `operation` may run twice. Raises LedgerUnavailable."""
    give_up = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            result = operation()
        except BackendUnavailable as error:
            if time.monotonic() > give_up:
                raise LedgerUnavailable from error
            outage.failed(error)
            time.sleep(RETRY_DELAY_S)
        else:
            outage.succeeded()
            return result
