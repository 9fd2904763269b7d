"""What plain calls need of a broker beside sending: replies, and broadcasts to workers."""

from __future__ import annotations

from typing import Protocol

from forebay_backends.broker.base import Broker
from forebay_gateway.plain.brokers.celery_messages import ControlMessage


class PlainBroker(Broker, Protocol):
    """A broker with this gateway's reply queue; `PlainRedisBroker` and `PlainAmqpBroker`.

    `close` deletes the reply queue, or lets it expire.
    """

    @property
    def is_listening(self) -> bool:
        """Whether the reply queue is being read."""

    async def listen(self) -> None:
        """Reads the reply queue until cancelled, and reconnects after every break."""

    async def broadcast(self, control: ControlMessage) -> None:
        """Publishes to all workers' mailboxes; raises BackendUnavailable."""
