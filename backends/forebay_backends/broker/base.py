"""The interface that Forebay needs from a broker, implemented for Redis and RabbitMQ.

If broker and ledger are one server, the ledger's script pushes a durable call's message
together with the call's record. Otherwise the record is written first and the message is
sent after it. Every operation is bounded in time and reports failures as `BackendUnavailable`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from forebay_backends.broker.redis import RedisBroker
from forebay_backends.broker.task_messages import Message, TaskMessage, redis_push
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.base import Push
from forebay_backends.signing.keyring import Keyring
from forebay_backends.urls import Backends, RedisServer


class Broker(Protocol):
    """A broker; implemented by `RedisBroker` and `AmqpBroker`."""

    @property
    def keyring(self) -> Keyring:
        """The keys that sign messages."""

    @property
    def is_ledger(self) -> bool:
        """Whether the broker is the ledger's server, so that its scripts can push messages."""

    async def send(self, message: Message) -> bool:
        """Publishes the message; raises BackendUnavailable.

        Even then the message may have been sent. Returns False if the queue does not exist. This
        can't happen to a message that declares its queue (`Message.declares_queue`).
        """

    async def depth(self, queue: str) -> int:
        """The number of ready messages, 0 if there is no such queue; raises BackendUnavailable."""

    async def depths(self, queues: Sequence[str]) -> list[int]:
        """Like `depth`, of several queues at once."""

    async def ping(self) -> None:
        """Returns when the broker has answered; raises BackendUnavailable."""

    async def close(self) -> None:
        """Closes all connections."""


def make_broker(backends: Backends, ledger: Ledger) -> Broker:
    """The broker of durable and ephemeral calls; it connects when it is first used.

    It signs messages with the same keys as the ledger's frames.
    """
    keyring = ledger.seals.keyring
    if backends.broker_is_ledger:
        return RedisBroker(ledger, is_ledger=True, keyring=keyring)
    if isinstance(backends.broker, RedisServer):
        return RedisBroker(Ledger(backends.broker, "the broker"), keyring=keyring)
    # Imported only here: kombu takes 10 MB of memory, and only RabbitMQ's client needs it.
    from forebay_backends.broker.amqp import AmqpBroker

    return AmqpBroker(backends.broker, keyring=keyring)


def ledger_push(broker: Broker, message: TaskMessage) -> Push:
    """The message that the ledger's script pushes together with the call's record.

    Empty if the broker is another server than the ledger; then use `send`.
    """
    return redis_push(message, broker.keyring) if broker.is_ledger else Push()
