"""Heartbeats of ephemeral calls during an outage of the ledger."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from forebay.errors import BackendUnavailable
from forebay.v1 import call_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_workers.lease import batch_heartbeats
from forebay_workers.lease.batch_heartbeats import BatchHeartbeats


class FakeLedger:
    """A ledger that publishes to one subscriber, unless it is away."""

    is_away = True
    published = 0

    async def publish(self, channel: str, frame: bytes) -> int:
        if self.is_away:
            raise BackendUnavailable("away", retry_after_s=1.0)
        self.published += 1
        return 1


async def test_a_heartbeat_that_could_not_be_sent_stays_due(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise the next round would have nothing to send, and its success would be logged."""
    call = (CallKey("a"), 1)
    batch = call_pb2.Batch(reply_channel="gateway")
    request = SimpleNamespace(id="1", batch=batch, begun=True, calls=[call[0]], received_at=0.0)
    monkeypatch.setattr(batch_heartbeats, "reserved_calls", lambda: [request])
    ledger = FakeLedger()
    heartbeats = BatchHeartbeats(cast(Any, ledger), "w@host")
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await heartbeats.send()
    ledger.is_away = False
    for _ in range(3):
        await heartbeats.send()
    assert ledger.published == 1
