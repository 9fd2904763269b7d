"""Waiting for a ledger that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from forebay.errors import BackendUnavailable
from forebay_workers.handler.invoke import Interrupted

RETRY_FOR_S = 60.0
"""How long a running attempt waits for a ledger that is away."""
_AGAIN_AFTER_S = 0.5

_log = logging.getLogger(__name__)

T = TypeVar("T")


class LedgerAway(Interrupted):
    """The ledger did not come back in time; the attempt is lost."""


def retry_while_away(ask: Callable[[], T]) -> T:
    """Asks the ledger until it answers; what is asked may be done twice. Raises LedgerAway."""
    give_up = time.monotonic() + RETRY_FOR_S
    while True:
        try:
            return ask()
        except BackendUnavailable as error:
            if time.monotonic() > give_up:
                raise LedgerAway from error
            _log.warning("the ledger does not answer; again in %g s", _AGAIN_AFTER_S)
            time.sleep(_AGAIN_AFTER_S)
