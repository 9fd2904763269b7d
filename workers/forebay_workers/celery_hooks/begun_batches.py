"""The batches that a worker has begun, so that a message that is replayed runs no second time.

Pure. The ledger refuses the replayed message of a durable call; a batch has no record.
"""

from __future__ import annotations

from collections import OrderedDict

_MAX_COUNT = 100_000


class BegunBatches:
    """Ids until their messages expire, by the ledger's clock; of very many, the latest.

    Remembers nothing until `is_kept` is set.
    """

    def __init__(self, max_count: int = _MAX_COUNT) -> None:
        self.is_kept = False
        self._max_count = max_count
        self._expire_at: OrderedDict[str, int] = OrderedDict()

    def add(self, batch_id: str, expires_ms: int) -> None:
        self._expire_at[batch_id] = expires_ms
        if len(self._expire_at) > self._max_count:
            self._expire_at.popitem(last=False)

    def forget_expired(self, now_ms: float) -> None:
        """Forgets from the oldest on: batches expire about in the order in which they begin."""
        while self._expire_at and next(iter(self._expire_at.values())) <= now_ms:
            self._expire_at.popitem(last=False)

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._expire_at
