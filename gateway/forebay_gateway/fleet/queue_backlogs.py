"""How many messages and calls wait in the queues, by the broker and the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from forebay_backends.broker.base import Broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS
from forebay_backends.ledger.operations.inspection import Backlog, backlog


@dataclass(frozen=True)
class QueueBacklog:
    """A queue's messages on the broker, and its calls in the ledger that no worker has claimed.

    A message may carry a batch of calls; ephemeral calls are not in the ledger.
    """

    messages: int
    durable: Backlog

    @property
    def calls(self) -> int:
        """How many calls wait at least."""
        return max(self.messages, self.durable.calls)


async def read_backlogs(
    ledger: Ledger, broker: Broker, queues: Sequence[str]
) -> dict[str, QueueBacklog]:
    """The backlogs of these queues; raises BackendUnavailable."""
    depths, by_partition = await asyncio.gather(
        broker.depths(queues),
        ledger.run_all([backlog(number, queues) for number in range(PARTITIONS)]),
    )
    durable = [sum(parts, Backlog()) for parts in zip(*by_partition, strict=True)]
    return {
        queue: QueueBacklog(depth, found)
        for queue, depth, found in zip(queues, depths, durable, strict=True)
    }
