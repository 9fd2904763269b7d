"""Brokers send task messages that a consumer of Celery's receives."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from celery import Celery
from kombu import Connection, Consumer
from kombu.message import Message

from forebay_backends.broker.amqp import AmqpBroker
from forebay_backends.broker.base import Broker, ledger_push, make_broker
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.broker.task_messages import TaskMessage, call_message
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.operations.base import Push
from forebay_backends.urls import Backends, backends, celery_settings

QUEUE = "queue"


@dataclass(frozen=True)
class Way:
    """A ledger and a broker."""

    servers: Backends
    ledger: Ledger
    broker: Broker


@pytest.fixture(params=("same server", "another database", "another server", "rabbitmq"))
async def way(
    request: pytest.FixtureRequest, redis_url: str, ledger_url: str
) -> AsyncIterator[Way]:
    """Ledger and broker in each configuration; the queue is empty."""
    broker_url = {
        "same server": lambda: None,
        "another database": lambda: f"{redis_url}9",
        "another server": lambda: ledger_url,
        "rabbitmq": lambda: request.getfixturevalue("rabbitmq").url("dispatch"),
    }[request.param]()
    servers = backends(f"{redis_url}8", broker_url)
    ledger = Ledger(servers.ledger_url)
    way = Way(servers, ledger, make_broker(servers, ledger))
    while await way.broker.depth(QUEUE):
        consumed(servers, 1)
    yield way
    await way.broker.close()
    await ledger.close()


def task_message(call_id: str, priority: int = 0) -> TaskMessage:
    return call_message(CallKey(call_id), 1, task="pkg.task", queue=QUEUE, priority=priority)


@contextmanager
def celerys_consumer(servers: Backends, on_message: Any) -> Iterator[Connection]:
    """A consumer of the queue as `celery worker -Q queue` makes one."""
    app = Celery("test", set_as_current=False)
    app.conf.update(celery_settings(servers))
    app.amqp.queues.select([QUEUE])
    with app.connection_for_read() as connection, connection.channel() as channel:
        consumer = app.amqp.TaskConsumer(channel, on_message=on_message, auto_declare=True)
        channel.basic_qos(0, 1, False)
        assert isinstance(consumer, Consumer)
        with consumer:
            yield connection
    app.close()


def consumed(servers: Backends, count: int) -> list[Message]:
    """Consumes `count` messages, each acknowledged before the next is delivered."""
    messages: list[Message] = []

    def take(message: Message) -> None:
        if len(messages) < count:
            messages.append(message)
            message.ack()
        else:
            message.requeue()

    with celerys_consumer(servers, take) as connection:
        while len(messages) < count:
            connection.drain_events(timeout=5.0)
    return messages


async def send(way: Way, message: TaskMessage) -> None:
    """Sends the message as a gateway does."""
    push = ledger_push(way.broker, message)
    if push.queue_list:
        await way.ledger.push(push)
    else:
        await way.broker.send(message)


def test_the_urls_decide_the_kind_of_broker(redis_url: str) -> None:
    ledger = Ledger(f"{redis_url}8")
    chosen = {
        broker: make_broker(backends(f"{redis_url}8", broker), ledger)
        for broker in (None, f"{redis_url}9", "amqp://localhost")
    }
    message = task_message("one")
    assert [type(each) for each in chosen.values()] == [
        RedisBroker,
        RedisBroker,
        AmqpBroker,
    ]
    assert [ledger_push(each, message) == Push() for each in chosen.values()] == [False, True, True]
    assert [each.is_ledger for each in chosen.values()] == [True, False, False]


async def test_a_message_that_was_sent_is_consumed_by_celery(way: Way) -> None:
    sent = task_message("one", priority=3)
    await send(way, sent)
    (message,) = consumed(way.servers, 1)
    assert message.content_type == "application/json"
    assert message.headers == sent.headers
    assert message.properties["correlation_id"] == "one"
    assert message.payload == sent.payload
    assert message.payload[1] == {"call": "/one", "attempt": 1}


async def test_a_message_that_no_script_pushes_is_consumed_too(way: Way) -> None:
    await way.broker.send(task_message("one"))
    assert [message.headers["id"] for message in consumed(way.servers, 1)] == ["one"]


async def test_the_most_urgent_message_is_consumed_first_and_equals_in_order(way: Way) -> None:
    for call_id, priority in (("a", 0), ("b", 9), ("c", 0), ("d", 4), ("e", 9)):
        await send(way, task_message(call_id, priority))
    order = [message.headers["id"] for message in consumed(way.servers, 5)]
    assert order == ["b", "e", "d", "a", "c"]


async def test_the_depth_of_a_queue_counts_its_ready_messages(way: Way) -> None:
    assert await way.broker.depth(QUEUE) == 0
    for priority in (0, 4, 9):
        await send(way, task_message("one", priority))
    assert await way.broker.depth(QUEUE) == 3
    consumed(way.servers, 3)
    assert await way.broker.depth(QUEUE) == 0


async def test_a_broker_answers_a_ping(way: Way) -> None:
    await way.broker.ping()
