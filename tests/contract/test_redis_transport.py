"""What a worker writes on the broker about messages that it has taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from kombu import Connection, Queue
from kombu.message import Message

from forebay_backends.broker.task_messages import call_message, redis_push
from forebay_backends.ledger.keys import CallKey
from forebay_backends.urls import kombu_url
from forebay_workers.celery_hooks import redis_transport

QUEUE = "queue"
BOOKS = "unacked"


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    redis_transport.install()
    with redis.Redis.from_url(f"{redis_url}7") as server:
        server.flushdb()
        yield server


@contextmanager
def taken(redis_url: str) -> Iterator[Message]:
    """The next message of the queue, taken by a consumer that has not acknowledged it."""
    with Connection(kombu_url(f"{redis_url}7")) as connection, connection.channel() as channel:
        messages: list[Message] = []
        consumer: Any = connection.Consumer(
            [Queue(QUEUE)], channel=channel, on_message=messages.append, accept=["json"]
        )
        with consumer:
            while not messages:
                connection.drain_events(timeout=10.0)
            yield messages[0]


def send_ours(server: redis.Redis) -> None:
    push = redis_push(call_message(CallKey("a"), 1, task="pkg.task", queue=QUEUE, priority=0))
    server.lpush(push.queue_list, push.message)


def send_anothers(redis_url: str) -> None:
    with Connection(kombu_url(f"{redis_url}7")) as connection, connection.SimpleQueue(QUEUE) as to:
        to.put({"from": "another"})


def waiting(server: redis.Redis) -> int:
    """Messages of ours in the queue, which has the lowest priority's list."""
    push = redis_push(call_message(CallKey("a"), 1, task="pkg.task", queue=QUEUE, priority=0))
    return int(server.llen(push.queue_list))  # type: ignore[arg-type]


def test_no_books_are_kept_of_our_own_messages(server: redis.Redis, redis_url: str) -> None:
    send_ours(server)
    with taken(redis_url) as message:
        assert not server.exists(BOOKS)
        message.ack()
    assert waiting(server) == 0


def test_our_own_messages_go_back_where_their_taker_ends(
    server: redis.Redis, redis_url: str
) -> None:
    send_ours(server)
    for _ in range(2):  # what went back can be taken, and go back, again
        with taken(redis_url) as message:
            assert message.headers["id"] == "a"
        assert waiting(server) == 1


def test_our_own_messages_go_back_where_they_are_rejected(
    server: redis.Redis, redis_url: str
) -> None:
    send_ours(server)
    with taken(redis_url) as message:
        message.requeue()
        assert waiting(server) == 1


def test_others_messages_are_booked_as_ever(server: redis.Redis, redis_url: str) -> None:
    send_anothers(redis_url)
    with taken(redis_url) as message:
        assert server.hlen(BOOKS) == 1
        message.ack()
        assert not server.exists(BOOKS)
