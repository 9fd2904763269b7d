"""RabbitMQ as a broker, through kombu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kombu import Exchange, Producer, Queue

from forebay.errors import BackendUnavailable
from forebay.routes import HIGHEST_PRIORITY
from forebay_backends.broker.amqp_channels import AmqpChannels, ping, queue_depth
from forebay_backends.broker.task_messages import JSON, Message, signed_headers
from forebay_backends.signing.keyring import NO_KEYS, Keyring
from forebay_backends.urls import AmqpServer

_MAX_TTL_S = 4_294_967  # RabbitMQ takes milliseconds of at most 32 bits


class AmqpBroker:
    """A `Broker`; its messages are persistent, and RabbitMQ confirms each of them.

    `called` is its name in error messages.
    """

    is_ledger = False

    def __init__(
        self, server: AmqpServer, called: str = "broker", keyring: Keyring = NO_KEYS
    ) -> None:
        self.keyring = keyring
        self._channels = AmqpChannels(server, called)

    async def send(self, message: Message) -> bool:
        try:
            return await self._channels.run(_publish, message, self.keyring)
        except BackendUnavailable as error:
            if message.at_most_once or isinstance(error.__cause__, TimeoutError):
                # After a timeout there is no time for a second attempt: for example, a broker
                # that is out of memory does not answer.
                raise
            # The connection may have died while idle. If both attempts arrive, the ledger refuses
            # the second claim of a durable call; ephemeral calls then run twice, as they may.
            return await self._channels.run(_publish, message, self.keyring)

    async def depth(self, queue: str) -> int:
        return await self._channels.run(queue_depth, queue)

    async def depths(self, queues: Sequence[str]) -> list[int]:
        return [await self.depth(queue) for queue in queues]  # one thread; others are for sends

    async def ping(self) -> None:
        await self._channels.run(ping)

    async def close(self) -> None:
        await self._channels.close()


def _publish(channel: Any, message: Message, keyring: Keyring) -> bool:
    """Publishes the message; returns whether the broker routed it to its queue."""
    returned: list[Any] = []

    def on_return(*returned_message: Any) -> None:
        returned.append(returned_message)

    channel.events["basic_return"].add(on_return)
    optional: dict[str, Any] = {}
    if message.priority is not None:
        optional["priority"] = message.priority
    if message.reply_to:
        optional["reply_to"] = message.reply_to
    if message.max_queue_s is not None:
        optional["expiration"] = min(message.max_queue_s, _MAX_TTL_S)
    body = message.body
    try:
        Producer(channel).publish(
            body,
            exchange="",
            routing_key=message.queue,
            declare=[worker_queue(message.queue)] if message.declares_queue else [],
            content_type=JSON,
            content_encoding="utf-8",
            headers=signed_headers(message, body, keyring),
            correlation_id=message.id,
            delivery_mode=2,
            mandatory=not message.declares_queue,
            retry=False,
            **optional,
        )
    finally:
        channel.events["basic_return"].discard(on_return)
    return not returned


def worker_queue(name: str) -> Queue:
    """The queue as a Celery worker started with `-Q NAME` declares it."""
    return Queue(
        name,
        Exchange(name),
        routing_key=name,
        queue_arguments={"x-max-priority": HIGHEST_PRIORITY},
    )
