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
from forebay_workers.celery_hooks.redis_transport import Connection, FreeSlots, Transport
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


@pytest.fixture(params=[1, 10], ids=["one", "several"])
def free_slots(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many messages the transport takes at a time, at most."""
    count: int = request.param
    monkeypatch.setattr(FreeSlots, "count", staticmethod(lambda: count))
    return count


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


@pytest.mark.usefixtures("free_slots")
def test_our_messages_have_no_unacked_entries(server: redis.Redis, redis_url: str) -> None:
    send_ours(server)
    with take(redis_url) as message:
        assert not server.exists(UNACKED)
        message.ack()
    assert waiting(server) == 0


@pytest.mark.usefixtures("free_slots")
def test_our_messages_return_to_the_queue_when_their_consumer_ends(
    server: redis.Redis, redis_url: str
) -> None:
    send_ours(server)
    for _ in range(2):  # a returned message can be taken and returned again
        with take(redis_url) as message:
            assert message.headers["id"] == "a"
        assert waiting(server) == 1


@pytest.mark.usefixtures("free_slots")
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


def taken(url: str, count: int, **options: Any) -> list[str]:
    """The ids of the next messages, in their order; they are acknowledged."""
    with (
        Connection(url, transport_options=options) as connection,
        connection.channel() as channel,
    ):
        messages: list[Message] = []
        consumer: Any = connection.Consumer(
            [Queue(QUEUE)], channel=channel, on_message=messages.append, accept=["json"]
        )
        with consumer:
            while len(messages) < count:
                connection.drain_events(timeout=10.0)
            for message in messages:
                message.ack()
    return [message.headers["id"] for message in messages]


def message_of(call: str, priority: int = 0) -> tuple[str, bytes]:
    """The list and the message of a call."""
    task = call_message(CallKey(call), 1, task="pkg.task", queue=QUEUE, priority=priority)
    push = redis_push(task)
    return push.queue_list, push.message


def pops(server: redis.Redis, command: str) -> int:
    statistics: Any = server.info("commandstats")
    return int(statistics.get(f"cmdstat_{command}", {}).get("calls", 0))


def test_as_many_messages_are_taken_at_once_as_slots_are_free(
    server: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FreeSlots, "count", staticmethod(lambda: 4))
    server.config_resetstat()
    for call in "abcdef":
        server.lpush(*message_of(call))
    assert taken(f"{redis_url}7", 6) == list("abcdef")
    assert pops(server, "blmpop") <= 3  # four, two, and one that waits
    assert pops(server, "brpop") == 0
    assert waiting(server) == 0


@pytest.mark.parametrize("garbage", [b"{", b"\xff", b'{"properties": 1}'])
def test_garbage_among_several_messages_is_dropped_alone(
    server: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch, garbage: bytes
) -> None:
    monkeypatch.setattr(FreeSlots, "count", staticmethod(lambda: 10))
    queue_list, _ = message_of("a")
    for message in (message_of("a")[1], garbage, message_of("b")[1]):
        server.lpush(queue_list, message)
    assert taken(f"{redis_url}7", 2) == ["a", "b"]
    assert waiting(server) == 0


@pytest.mark.usefixtures("free_slots")
def test_urgent_messages_come_first(server: redis.Redis, redis_url: str) -> None:
    for call, priority in (("a", 0), ("b", 9), ("c", 9)):
        server.lpush(*message_of(call, priority))
    options = {"priority_steps": list(range(10)), "sep": "\x06\x16"}
    assert taken(f"{redis_url}7", 3, **options) == ["b", "c", "a"]


@pytest.mark.usefixtures("free_slots")
def test_messages_are_taken_from_prefixed_lists(server: redis.Redis, redis_url: str) -> None:
    for call in "ab":
        queue_list, message = message_of(call)
        server.lpush(f"app:{queue_list}", message)
    assert taken(f"{redis_url}7", 2, global_keyprefix="app:") == ["a", "b"]


def test_a_user_without_the_right_to_blmpop_takes_one_message_at_a_time(
    server: redis.Redis, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FreeSlots, "count", staticmethod(lambda: 10))
    rights: list[str] = ["~*", "&*", "+@all", "-blmpop"]
    server.execute_command("ACL", "SETUSER", "old", "reset", "on", ">pw", *rights)
    for call in "ab":
        server.lpush(*message_of(call))
    url = f"{redis_url}7".replace("redis://", "redis://old:pw@")
    try:
        assert taken(url, 2) == ["a", "b"]
    finally:
        server.execute_command("ACL", "DELUSER", "old")


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
