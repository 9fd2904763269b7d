"""Plain tasks in a quorum queue of RabbitMQ, which handlers of Forebay can't have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from amqp.exceptions import PreconditionFailed
from kombu import Connection

from tests.contract.plain_site import PlainSite, backends_of, error_of, plain_site, wish
from tests.plain.v1 import plain_pb2 as pb
from tests.rabbitmq import RabbitMQ

TIMEOUT_S = 20.0
pytestmark = pytest.mark.variant


@pytest.fixture(scope="module")
def quorum(request: pytest.FixtureRequest, rabbitmq: RabbitMQ) -> Iterator[PlainSite]:
    url = rabbitmq.url("quorum")
    brokers = {"PLAIN_BROKER_URL": url, "FOREBAY_BROKER_URL": url, "PLAIN_QUEUE_TYPE": "quorum"}
    with plain_site({**backends_of("rabbitmq+rpc", request), **brokers}) as site:
        with (
            Connection(url) as connection,
            closing(connection.channel()) as channel,
            pytest.raises(PreconditionFailed, match="quorum"),
        ):
            channel.queue_declare("plain", durable=True, auto_delete=False)
        yield site


def test_tasks_succeed_and_fail(quorum: PlainSite) -> None:
    assert quorum.stub.Add(pb.AddRequest(x=4, y=6), timeout=TIMEOUT_S).total == 10
    error = error_of(lambda: quorum.stub.Do(wish("evaluate", "1/0"), timeout=TIMEOUT_S))
    assert str(error).startswith("INTERNAL/HANDLER_FAILED")
