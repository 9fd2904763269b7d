"""Tries what calls need from RabbitMQ: a queue for replies, and the queues of the routes."""

from __future__ import annotations

import uuid
from typing import Any

from amqp.exceptions import NotFound
from kombu import Producer

from forebay_backends.broker.amqp import worker_queue


def try_reply_queue(channel: Any) -> None:
    """Declares a new queue, publishes to it, takes the message, and deletes the queue."""
    throwaway = channel.connection.channel()
    name = f"forebay-doctor-{uuid.uuid4()}"
    try:
        throwaway.queue_declare(name, durable=False, exclusive=True, auto_delete=True)
        Producer(throwaway, auto_declare=False).publish(b"", exchange="", routing_key=name)
        if throwaway.basic_get(name, no_ack=True) is None:
            raise TimeoutError(f"a message that was published to the queue {name} is not in it")
        throwaway.queue_delete(name)
    finally:
        if throwaway.is_open:
            throwaway.close()


def try_queue(channel: Any, queue: str) -> None:
    """Raises PreconditionFailed if the queue exists with other arguments than calls declare.

    Does not create it.
    """
    throwaway = channel.connection.channel()
    try:
        throwaway.queue_declare(queue, passive=True)
        worker_queue(queue)(throwaway).declare()
    except NotFound:
        pass  # the first worker or call declares it
    finally:
        if throwaway.is_open:
            throwaway.close()
