"""Brokers of plain tasks, Redis and RabbitMQ: their reply queue, sending and depth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import redis
from kombu import Connection, Producer

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S
from forebay_backends.urls import AmqpServer, broker_server
from forebay_gateway.plain.brokers.amqp import PlainAmqpBroker
from forebay_gateway.plain.brokers.base import PlainBroker
from forebay_gateway.plain.brokers.celery_messages import PlainMessage, Reply
from forebay_gateway.plain.brokers.redis import REPLY_QUEUES, PlainRedisBroker
from tests.harness import free_port

TIMEOUT_S = 20.0


@dataclass
class Listening:
    """A broker whose reply queue is read."""

    url: str
    broker: PlainBroker
    queue: str
    replies: asyncio.Queue[Reply]

    async def reply(self, task_id: str) -> Reply:
        """Publishes a reply as a worker does, and returns what `on_reply` was given."""

        def publish() -> None:
            with Connection(self.url) as connection:
                Producer(connection).publish(
                    {"status": "SUCCESS"},
                    routing_key=self.queue,
                    correlation_id=task_id,
                    serializer="json",
                )

        await asyncio.to_thread(publish)
        async with asyncio.timeout(TIMEOUT_S):
            return await self.replies.get()


def _broker(
    url: str, queue: str, on_reply: Callable[[Reply], None]
) -> PlainRedisBroker | PlainAmqpBroker:
    server = broker_server(url)
    if isinstance(server, AmqpServer):
        return PlainAmqpBroker(server, queue, on_reply)
    return PlainRedisBroker(server, queue, on_reply)


@asynccontextmanager
async def listening(url: str, queue: str) -> AsyncIterator[Listening]:
    replies: asyncio.Queue[Reply] = asyncio.Queue()
    broker = _broker(url, queue, replies.put_nowait)
    reading = asyncio.create_task(broker.listen())
    async with asyncio.timeout(TIMEOUT_S):
        while not broker.is_listening:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0.01)
    try:
        yield Listening(url, broker, queue, replies)
    finally:
        await cancel_all([reading])
        await broker.close()


@pytest.fixture(params=["redis", "rabbitmq"])
def url(request: pytest.FixtureRequest) -> str:
    if request.param == "redis":
        return f"{request.getfixturevalue('redis_url')}6"
    return str(request.getfixturevalue("rabbitmq").url("plain"))


async def test_a_reply_carries_its_tasks_id(url: str) -> None:
    async with listening(url, "replies.one") as listener:
        reply = await listener.reply("task-1")
        assert (reply.task_id, reply.ticket) == ("task-1", "")
        assert (reply.content_type, reply.body) == ("application/json", b'{"status": "SUCCESS"}')


async def test_a_silent_reply_queue_stays_connected(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(url, "replies.idle") as listener:
        # Longer than any library waits for an answer by itself.
        await asyncio.sleep(COMMAND_TIMEOUT_S + 1.5)
        assert (await listener.reply("late")).task_id == "late"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_task_is_sent_once_however_often_its_push_is_retried(redis_url: str) -> None:
    url = f"{redis_url}6"
    async with listening(url, "replies.once") as listener:
        message = PlainMessage("once", "t", "plain-once", None, listener.queue)
        await listener.broker.send(message)
        await listener.broker.send(message)
        assert await listener.broker.depth("plain-once") == 1


async def test_a_gateway_deletes_its_reply_queue_and_those_that_were_abandoned(
    redis_url: str,
) -> None:
    url = f"{redis_url}6"
    with redis.Redis.from_url(url) as server:
        server.zadd(REPLY_QUEUES, {"replies.abandoned": 1.0})
        server.lpush("replies.abandoned", "x")
        async with listening(url, "replies.next"):
            assert not server.exists("replies.abandoned")
            assert server.zscore(REPLY_QUEUES, "replies.next") is not None
        assert server.zrange(REPLY_QUEUES, 0, -1) == []


async def test_a_queue_that_does_not_exist_is_reported_and_not_declared(
    request: pytest.FixtureRequest,
) -> None:
    url = request.getfixturevalue("rabbitmq").url("plain")
    async with listening(url, "replies.none") as listener:
        message = PlainMessage("i", "t", "plain-not-there", None, listener.queue)
        assert not await listener.broker.send(message)
        assert await listener.broker.depth("plain-not-there") == 0


@pytest.mark.parametrize("form", ["redis://127.0.0.1:{}/0", "amqp://guest:guest@127.0.0.1:{}//"])
async def test_reading_replies_of_a_broker_that_is_down_logs_no_traceback(
    form: str, caplog: pytest.LogCaptureFixture
) -> None:
    url = form.format(free_port())
    broker = _broker(url, "replies", lambda _: None)
    reading = asyncio.create_task(broker.listen())
    with pytest.raises(BackendUnavailable):
        await broker.ping()
    await cancel_all([reading])
    await broker.close()
    assert [record for record in caplog.records if record.exc_info] == []
