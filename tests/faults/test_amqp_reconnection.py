"""A worker with a pool of threads whose connection to RabbitMQ breaks while calls run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from forebay_backends.urls import amqp_server
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.echoes import TIMEOUT_S, gateway, indexes, slow, take, worker
from tests.faults.nemesis.link import links
from tests.harness import short_folder
from tests.rabbitmq import RabbitMQ

SLOTS = 8
CUTS = 3
CALLS = 200
ITEMS = 20


@pytest.mark.variant
def test_a_worker_with_threads_takes_calls_after_each_reconnection(rabbitmq: RabbitMQ) -> None:
    url = rabbitmq.url("outage")
    with short_folder() as folder, links() as between:
        link = between.to(amqp_server(url).nodes[0].port)
        at_gateway = {"FOREBAY_DATA_DIR": str(folder / "data"), "FOREBAY_BROKER_URL": url}
        at_worker = at_gateway | {"FOREBAY_BROKER_URL": url.replace(_port(url), str(link.port))}
        with (
            gateway(**at_gateway) as serving,
            worker("threads", **at_worker),
            ThreadPoolExecutor(2 * SLOTS) as callers,
        ):
            for _ in range(CUTS):
                running = [
                    serving.stub.ServerStream(slow(ITEMS), timeout=TIMEOUT_S) for _ in range(SLOTS)
                ]
                begun = [take(call, 1) for call in running]
                link.cut()
                link.heal()
                answers = callers.map(
                    lambda number: (
                        serving.stub.Unary(EchoRequest(text=str(number)), timeout=TIMEOUT_S).text
                    ),
                    range(CALLS),
                )
                assert list(answers) == [str(number) for number in range(CALLS)]
                for responses, call in zip(begun, running, strict=True):
                    assert indexes([*responses, *call]) == list(range(ITEMS))


def _port(url: str) -> str:
    return str(amqp_server(url).nodes[0].port)
