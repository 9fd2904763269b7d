"""Sending task messages to the broker.

Where broker and ledger are one server, a durable call's message is pushed by
the script that writes its record; everywhere else the record is written first.
Every send is bounded; what fails is raised as `BackendUnavailable`.
"""

from __future__ import annotations

from typing import Any, Protocol

from kombu import Exchange, Producer, Queue

from forebay.errors import BackendUnavailable
from forebay_backends.broker.amqp_channels import AmqpChannels, depth, ping
from forebay_backends.broker.task_messages import TaskMessage, queue_lists, redis_push
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.operations.base import Push
from forebay_backends.urls import HIGHEST_PRIORITY, Backends, redis_url


class Dispatcher(Protocol):
    """The way to a broker."""

    @property
    def pushes(self) -> bool:
        """Whether the ledger's scripts push its messages, with the records that they write."""

    def push_of(self, message: TaskMessage) -> Push:
        """What the ledger's script is to push; empty where `send` is the way."""

    async def send(self, message: TaskMessage) -> None:
        """Sends a message that no script pushes; raises BackendUnavailable."""

    async def depth(self, queue: str) -> int:
        """How many messages wait in a queue; raises BackendUnavailable."""

    async def ping(self) -> None:
        """Returns when the broker answers; raises BackendUnavailable."""

    async def close(self) -> None:
        """Closes all connections."""


def dispatcher(backends: Backends, ledger: Ledger) -> Dispatcher:
    """The dispatcher for a pair of backends."""
    if backends.broker_is_ledger:
        return RedisDispatcher(ledger, atomic=True)
    if backends.broker_is_redis:
        return RedisDispatcher(Ledger(redis_url(backends.broker_url)), atomic=False)
    return AmqpDispatcher(backends.broker_url)


class RedisDispatcher:
    """A Redis or Valkey broker; `atomic` where it is the ledger's server."""

    def __init__(self, server: Ledger, *, atomic: bool) -> None:
        self._server = server
        self._atomic = atomic

    @property
    def pushes(self) -> bool:
        """Where it is the ledger's server."""
        return self._atomic

    def push_of(self, message: TaskMessage) -> Push:
        """The message itself, where the ledger's script can push it."""
        return redis_push(message) if self._atomic else Push()

    async def send(self, message: TaskMessage) -> None:
        """Pushes the message."""
        await self._server.push(redis_push(message))

    async def depth(self, queue: str) -> int:
        """The messages on all lists of the queue."""
        return sum(await self._server.queue_depths(queue_lists(queue)))

    async def ping(self) -> None:
        """Asks the server."""
        await self._server.ping()

    async def close(self) -> None:
        """Closes the connections, where they are not the ledger's."""
        if not self._atomic:
            await self._server.close()


class AmqpDispatcher:
    """RabbitMQ, through kombu."""

    def __init__(self, url: str) -> None:
        self._channels = AmqpChannels(url)

    @property
    def pushes(self) -> bool:
        """No script of the ledger's reaches this broker."""
        return False

    def push_of(self, message: TaskMessage) -> Push:
        """Nothing."""
        return Push()

    async def send(self, message: TaskMessage) -> None:
        """Publishes the message, persistent and confirmed."""
        try:
            await self._channels.run(_publish, message)
        except BackendUnavailable as error:
            if isinstance(error.__cause__, TimeoutError):
                raise  # a broker that is silent, as where memory fails it, has been waited for
            # The connection may have died while idle. Sent twice, it is begun once.
            await self._channels.run(_publish, message)

    async def depth(self, queue: str) -> int:
        """The messages that are ready in the queue."""
        return await self._channels.run(depth, queue)

    async def ping(self) -> None:
        """Opens and closes a channel."""
        await self._channels.run(ping)

    async def close(self) -> None:
        """Closes the connections."""
        await self._channels.close()


def _publish(channel: Any, message: TaskMessage) -> None:
    Producer(channel).publish(
        message.body,
        exchange="",
        routing_key=message.queue,
        declare=[_queue(message.queue)],
        serializer="json",
        headers=message.headers,
        correlation_id=message.id,
        priority=message.priority,
        delivery_mode=2,
        retry=False,
    )


def _queue(name: str) -> Queue:
    """The queue as a Celery worker started with `-Q NAME` declares it."""
    return Queue(
        name,
        Exchange(name),
        routing_key=name,
        queue_arguments={"x-max-priority": HIGHEST_PRIORITY},
    )
