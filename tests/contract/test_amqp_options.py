"""Options of an AMQP URL, as RabbitMQ sees the connections of gateway and worker."""

from __future__ import annotations

from celery import Celery

from forebay_backends.broker.amqp_channels import AmqpChannels, ping
from forebay_backends.urls import amqp_server, backends, celery_settings
from tests.rabbitmq import RabbitMQ

VHOST = "dispatch"
OPTIONS = "?heartbeat=37&connect_timeout=5&login_method=AMQPLAIN"


async def test_rabbitmq_is_told_the_options_of_the_url(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.url(VHOST) + OPTIONS
    channels = AmqpChannels(amqp_server(url))
    app = Celery()
    app.conf.update(celery_settings(backends("redis://h", url)))
    heartbeat = app.conf.broker_heartbeat  # as a worker does
    with app.connection_for_read(heartbeat=heartbeat) as consuming:
        consuming.connect()
        await channels.run(ping)
        seen = rabbitmq.connections("vhost", "auth_mechanism", "timeout")
    await channels.close()
    assert [VHOST, "AMQPLAIN", "37"] in seen, "the worker's, with heartbeats"
    assert [VHOST, "AMQPLAIN", "0"] in seen, "the gateway's, which are pinged before use"
