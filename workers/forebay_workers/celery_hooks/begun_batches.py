"""The batches that a worker has begun, so that it does not run a replayed message again. Pure.

The ledger refuses a replayed message of a durable call, but it has no record of a batch.
"""

from __future__ import annotations

from collections import OrderedDict

_MAX_COUNT = 100_000


class BegunBatches:
    """The ids of begun batches, until their messages expire by the ledger's clock.

    Holds at most `max_count` ids, the latest. Nothing should be added unless `is_kept` is set.
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
        """Forgets the oldest batches, up to the first that has not expired.

        Later ones may have expired too, but batches expire about in the order in which they begin.
        """
        while self._expire_at and next(iter(self._expire_at.values())) <= now_ms:
            self._expire_at.popitem(last=False)

    def __contains__(self, batch_id: str) -> bool:
        return batch_id in self._expire_at
