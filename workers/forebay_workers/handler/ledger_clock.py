"""The ledger's clock, estimated by a worker's process."""

from __future__ import annotations

import time

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.operations.maintenance import read_clock

SYNC_INTERVAL_S = 5.0


class LedgerClock:
    """Reads the ledger's clock every 5 s at most, and extrapolates in between."""

    def __init__(self, ledger: BlockingLedger) -> None:
        self._ledger = ledger
        self._synced_at = -SYNC_INTERVAL_S
        self._offset_ms = 0.0

    def now_ms(self) -> float:
        """Returns the ledger's time in ms; raises BackendUnavailable if it can't be read."""
        now = time.monotonic()
        if now - self._synced_at >= SYNC_INTERVAL_S:
            self._offset_ms = self._ledger.run(read_clock()).now_ms - time.monotonic() * 1000
            self._synced_at = now
        return time.monotonic() * 1000 + self._offset_ms
