"""What a gateway needs of a broker for plain tasks; `RedisBroker` and `AmqpBroker` have it."""

from __future__ import annotations

from typing import Protocol

from forebay_gateway.plain.brokers.celery_messages import ControlMessage, PlainMessage


class Broker(Protocol):
    """The way to an application's workers, and the queue by which they answer."""

    @property
    def is_listening(self) -> bool:
        """Whether the reply queue is being read."""

    async def listen(self) -> None:
        """Reads the reply queue until cancelled, over every break."""

    async def send(self, message: PlainMessage) -> bool:
        """Sends a task once; False where its queue does not exist. Raises BackendUnavailable,
        where it may have been sent.
        """

    async def broadcast(self, control: ControlMessage) -> None:
        """Tells all workers; raises BackendUnavailable."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue; raises BackendUnavailable."""

    async def ping(self) -> None:
        """Returns when the broker answers; raises BackendUnavailable."""

    async def close(self) -> None:
        """Closes all connections, and takes the reply queue away."""
