"""A worker's own Redis transport: its bookkeeping of messages, and whose connections use it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from celery import Celery
from kombu import Queue
from kombu.message import Message
from kombu.transport import redis as kombu_redis

from forebay_backends.broker.task_messages import call_message, redis_push
from forebay_backends.ledger.keys import CallKey
from forebay_workers import application
from forebay_workers.celery_hooks.redis_transport import Connection, Transport
from tests.contract.two_applications import QUEUES, REPORTS
from tests.harness import environment, process

QUEUE = "queue"
TIMEOUT_S = 30
UNACKED = "unacked"


@pytest.fixture
def server(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(f"{redis_url}7") as server:
        server.flushdb()
        yield server


@contextmanager
def take(redis_url: str) -> Iterator[Message]:
    """Takes the queue's next message, without acknowledging it."""
    with Connection(f"{redis_url}7") as connection, connection.channel() as channel:
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


def send_foreign(redis_url: str) -> None:
    with Connection(f"{redis_url}7") as connection, connection.SimpleQueue(QUEUE) as to:
        to.put({"from": "another"})


def waiting(server: redis.Redis) -> int:
    """The number of our messages in the queue's list of the lowest priority."""
    push = redis_push(call_message(CallKey("a"), 1, task="pkg.task", queue=QUEUE, priority=0))
    return int(server.llen(push.queue_list))  # type: ignore[arg-type]


def test_our_messages_have_no_unacked_entries(server: redis.Redis, redis_url: str) -> None:
    send_ours(server)
    with take(redis_url) as message:
        assert not server.exists(UNACKED)
        message.ack()
    assert waiting(server) == 0


def test_our_messages_return_to_the_queue_when_their_consumer_ends(
    server: redis.Redis, redis_url: str
) -> None:
    send_ours(server)
    for _ in range(2):  # a returned message can be taken and returned again
        with take(redis_url) as message:
            assert message.headers["id"] == "a"
        assert waiting(server) == 1


def test_our_messages_return_to_the_queue_when_they_are_requeued(
    server: redis.Redis, redis_url: str
) -> None:
    send_ours(server)
    with take(redis_url) as message:
        message.requeue()
        assert waiting(server) == 1


def test_messages_of_others_have_unacked_entries(server: redis.Redis, redis_url: str) -> None:
    send_foreign(redis_url)
    with take(redis_url) as message:
        assert server.hlen(UNACKED) == 1
        message.ack()
        assert not server.exists(UNACKED)


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://h:1/2", "redis+socket:///r.sock"])
def test_only_applications_of_ours_use_the_transport(url: str) -> None:
    ours, plain = application("ours"), Celery("plain", set_as_current=False)
    for app in (ours, plain):
        app.conf.broker_url = url
    with ours.connection_for_write() as one, plain.connection_for_write() as other:
        assert type(one.clone().transport) is Transport
        assert type(other.transport) is kombu_redis.Transport
        assert one.as_uri() == other.as_uri()
        assert one.ssl == other.ssl
    assert ours.pool is not plain.pool
    with application("ours too").connection_for_write(url) as again:
        assert type(again.transport) is Transport


def test_rabbitmqs_transport_is_kombus() -> None:
    with application("ours").connection_for_write("amqp://h") as one:
        assert one.get_transport_cls().driver_type == "amqp"


@pytest.mark.parametrize("name", ["ours", "plain"])
def test_a_worker_of_each_application_runs_tasks_where_both_are_in_its_process(
    server: redis.Redis, redis_url: str, name: str
) -> None:
    url = f"{redis_url}7"
    sender = Celery("sender", broker=url, set_as_current=False)
    with process(
        *["celery", "-A", f"tests.contract.two_applications:{name}", "worker", "-l", "INFO"],
        *["-P", "solo", "-Q", QUEUES[name], "--without-mingle", "--without-gossip"],
        env=environment(FOREBAY_LEDGER_URL=url),
    ) as worker:
        host = url.removeprefix("redis://")
        worker.wait_for(rf"Connected to redis://\S*{host}")  # as the operator wrote it
        worker.wait_for(r" ready\.")
        sender.send_task("report", queue=QUEUES[name])
        reported = server.brpop([REPORTS], timeout=TIMEOUT_S)
        assert reported is not None
        assert json.loads(reported[1]) == {
            "run by": name,
            "ours": Transport.__module__,
            "plain": kombu_redis.__name__,
            "keeps leases": name == "ours",
        }
    sender.close()
