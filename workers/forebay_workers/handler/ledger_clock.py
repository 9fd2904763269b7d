"""The ledger's clock, as a process of a worker knows it."""

from __future__ import annotations

import time
from typing import Any, cast

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.errors import mapped_errors

_AGAIN_AFTER_S = 60.0


class LedgerClock:
    """Asks the ledger for its time, once a minute at most, and counts on from there."""

    def __init__(self, ledger: BlockingLedger) -> None:
        self._ledger = ledger
        self._asked_at = -_AGAIN_AFTER_S
        self._offset_ms = 0.0

    def now_ms(self) -> float:
        """Ms of the ledger's clock; raises BackendUnavailable where it must ask and can't."""
        now = time.monotonic()
        if now - self._asked_at >= _AGAIN_AFTER_S:
            with mapped_errors():
                seconds, microseconds = cast(Any, self._ledger.redis.time())
            self._offset_ms = seconds * 1000 + microseconds / 1000 - time.monotonic() * 1000
            self._asked_at = now
        return time.monotonic() * 1000 + self._offset_ms
