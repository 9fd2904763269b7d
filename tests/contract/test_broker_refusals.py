"""Refusals of RabbitMQ are reported to callers, in the log and by `forebay doctor`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from kombu import Connection

from forebay.errors import BackendUnavailable
from forebay_backends.broker.amqp import AmqpBroker
from forebay_backends.broker.amqp_channels import SEND_TIMEOUT_S
from forebay_backends.broker.task_messages import TaskMessage
from forebay_backends.urls import amqp_server
from tests.commands import run
from tests.harness import environment, free_port
from tests.rabbitmq import RabbitMQ

QUORUM = {"x-queue-type": "quorum"}


@pytest.fixture
async def broker(rabbitmq: RabbitMQ) -> AsyncIterator[AmqpBroker]:
    broker = AmqpBroker(amqp_server(rabbitmq.url("outage")))
    yield broker
    await broker.close()


@contextmanager
def declared(url: str, queue: str, arguments: dict[str, Any]) -> Iterator[None]:
    """The queue exists, with these arguments, in the block."""
    with Connection(url) as connection, closing(connection.channel()) as channel:
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
        try:
            yield
        finally:
            channel.queue_delete(queue)


async def test_a_queue_that_is_declared_differently_is_reported_with_the_fix(
    rabbitmq: RabbitMQ, broker: AmqpBroker, caplog: pytest.LogCaptureFixture
) -> None:
    message = TaskMessage("id", "pkg.task", "quorum", 0, {})
    with declared(rabbitmq.url("outage"), "quorum", QUORUM), caplog.at_level(logging.WARNING):
        for _ in range(2):
            with pytest.raises(BackendUnavailable, match="PRECONDITION_FAILED") as caught:
                await broker.send(message)
    assert "'quorum'" in caught.value.message
    assert caught.value.retry_after_s
    (record,) = [one for one in caplog.records if "PRECONDITION_FAILED" in one.getMessage()]
    assert "to fix it: delete the queue, or give the route another one" in record.getMessage()


async def test_a_user_that_the_broker_refuses_is_named(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.url("outage").replace("guest:guest", "guest:wrong")
    broker = AmqpBroker(amqp_server(url))
    with pytest.raises(BackendUnavailable, match=r"refuses access: .*ACCESS_REFUSED"):
        await broker.ping()
    await broker.close()


async def test_a_virtual_host_that_is_not_there_is_named(rabbitmq: RabbitMQ) -> None:
    broker = AmqpBroker(amqp_server(rabbitmq.url("nowhere")))
    with pytest.raises(BackendUnavailable, match=r"refuses the virtual host: .*'?nowhere"):
        await broker.ping()
    await broker.close()


@pytest.mark.variant
async def test_an_alarm_is_named_and_makes_the_broker_unhealthy(
    rabbitmq: RabbitMQ, broker: AmqpBroker
) -> None:
    async def ping_until_refused() -> None:
        while True:  # the broker still confirms the first message
            await broker.ping()

    with rabbitmq.out_of_memory(), pytest.raises(BackendUnavailable, match="blocks publishers"):
        async with asyncio.timeout(SEND_TIMEOUT_S * 2):
            await ping_until_refused()
    async with asyncio.timeout(SEND_TIMEOUT_S * 2):
        while True:
            try:
                await broker.ping()
                break
            except BackendUnavailable:
                await asyncio.sleep(0.1)


def test_doctor_names_a_queue_that_is_declared_differently(
    rabbitmq: RabbitMQ, redis_url: str
) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    url = rabbitmq.url("outage")
    backends = {"FOREBAY_LEDGER_URL": f"{redis_url}6", "FOREBAY_BROKER_URL": url}
    with declared(url, "add", QUORUM):
        ran = run("forebay", "doctor", "--listen", nowhere, env=environment(**backends))
    (line,) = (line for line in ran.out.splitlines() if "broker:" in line)
    assert line.startswith("problem")
    assert "PRECONDITION_FAILED" in line
    assert "fix: delete the queue" in ran.out
