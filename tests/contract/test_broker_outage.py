"""A broker that goes down and returns, while the gateway keeps running."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import closing
from typing import Any, cast

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.errors import BackendUnavailable
from forebay.rpc_errors import of_rpc_error
from forebay_backends.broker.amqp import AmqpBroker
from forebay_backends.broker.amqp_channels import SEND_TIMEOUT_S
from forebay_backends.broker.base import Broker, make_broker
from forebay_backends.broker.task_messages import call_message
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.base import Push
from forebay_backends.ledger.operations.calls import CallSnapshot, accept, watch
from forebay_backends.urls import amqp_server, backends
from tests.contract.records import new_call
from tests.contract.systems import backends_of, take_messages
from tests.harness import environment, eventually, forebay_gateway, free_port
from tests.rabbitmq import RabbitMQ

BOUND_S = 15.0
SLACK_S = 3.0
MANY = 20
MESSAGE = call_message(CallKey("one"), 1, task="pkg.task", queue="queue", priority=0)

REQUEST = pb.FactorialRequest(n=5)
PRODUCT = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=2))
OWN_ID = [("forebay-call-id", "during-the-outage")]


async def use(broker: Broker) -> None:
    """Every operation of a broker, at the same time."""
    await asyncio.gather(broker.send(MESSAGE), broker.depth("queue"), broker.ping())


async def is_unavailable(broker: Broker, sends: int) -> None:
    """Every operation fails within the bound, also when many run at the same time."""
    async with asyncio.timeout(BOUND_S):
        outcomes = await asyncio.gather(
            broker.depth("queue"),
            broker.ping(),
            *(broker.send(MESSAGE) for _ in range(sends)),
            return_exceptions=True,
        )
    assert {type(outcome) for outcome in outcomes} == {BackendUnavailable}
    errors = [cast(BackendUnavailable, outcome) for outcome in outcomes]
    assert all(error.retry_after_s for error in errors)
    assert {error.message for error in errors} == {"the broker does not answer"}


@pytest.fixture
async def amqp(rabbitmq: RabbitMQ) -> AsyncIterator[AmqpBroker]:
    """A client that survives its broker."""
    broker = AmqpBroker(amqp_server(rabbitmq.url("outage")))
    yield broker
    await broker.close()


async def test_an_amqp_broker_that_never_ran_is_unavailable_within_a_bound() -> None:
    amqp = AmqpBroker(amqp_server(f"amqp://guest:guest@127.0.0.1:{free_port()}//"))
    await is_unavailable(amqp, 1)
    await amqp.close()


async def test_a_redis_broker_that_never_ran_is_unavailable_within_a_bound(redis_url: str) -> None:
    ledger = Ledger(f"{redis_url}8")
    broker = make_broker(backends(f"{redis_url}8", f"redis://127.0.0.1:{free_port()}/0"), ledger)
    await is_unavailable(broker, MANY)
    await broker.close()
    await ledger.close()


@pytest.mark.timeout(120)
@pytest.mark.variant
async def test_a_broker_that_is_out_of_memory_is_unavailable(
    rabbitmq: RabbitMQ, amqp: AmqpBroker
) -> None:
    """RabbitMQ stops publishers then without an error: it sends no confirm."""
    await use(amqp)
    with rabbitmq.out_of_memory():
        async with asyncio.timeout(SEND_TIMEOUT_S + SLACK_S):
            outcomes = await asyncio.gather(
                *(amqp.send(MESSAGE) for _ in range(MANY)), return_exceptions=True
            )
        assert {type(outcome) for outcome in outcomes} == {BackendUnavailable}
    async with asyncio.timeout(BOUND_S):
        while True:
            try:
                await use(amqp)
                break
            except BackendUnavailable:
                await asyncio.sleep(0.1)


def serving(channel: grpc.Channel) -> bool:
    answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.variant
@pytest.mark.timeout(120)
async def test_a_gateway_outlives_an_outage_of_its_broker(
    rabbitmq: RabbitMQ, amqp: AmqpBroker, redis_url: str
) -> None:
    variables = {
        "FOREBAY_LEDGER_URL": f"{redis_url}10",
        "FOREBAY_BROKER_URL": rabbitmq.url("outage"),
    }
    servers = backends_of(variables)
    await use(amqp)
    with (
        forebay_gateway(env=environment(**variables)) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        eventually(lambda: serving(channel), "the gateway serves")
        before = stub.Factorial(REQUEST, timeout=60.0)
        before.initial_metadata()
        rabbitmq.stop()
        try:
            refused: list[Any] = [
                stub.Factorial(REQUEST, timeout=60.0),
                stub.Factorial(REQUEST, timeout=60.0, metadata=OWN_ID),
                stub.MatMul(iter([PRODUCT]), timeout=60.0),
                stub.Add.future(pb.AddRequest(x=1, y=2), timeout=60.0),
            ]
            await is_unavailable(amqp, MANY)
            for call in refused:
                error = of_rpc_error(call.exception(BOUND_S))
                assert (error.code_name, error.reason) == ("UNAVAILABLE", "BACKEND_UNAVAILABLE")
                assert error.retry_after_s is not None
            eventually(lambda: not serving(channel), "health is NOT_SERVING", BOUND_S)
        finally:
            rabbitmq.start()
        await use(amqp)
        eventually(lambda: serving(channel), "the gateway serves again", BOUND_S)
        after = stub.Factorial(REQUEST, timeout=60.0)
        ids = [dict(call.initial_metadata())["forebay-call-id"] for call in (before, after)]
        waiting = [message.headers["id"] for message in take_messages(servers, "factorial")]
        assert waiting == ids, "messages outlive the broker's restart, and new ones join them"
        again = stub.Factorial(REQUEST, timeout=60.0, metadata=OWN_ID)
        attached = dict(again.initial_metadata())["forebay-attached"]
        for call in (before, after, again):
            call.cancel()
        assert attached == "new", "RetryInfo was given, and the retry gets the stored failure"


def test_attaching_while_the_broker_is_down_does_not_end_the_call(redis_url: str) -> None:
    variables = {
        "FOREBAY_LEDGER_URL": f"{redis_url}12",
        "FOREBAY_BROKER_URL": f"redis://127.0.0.1:{free_port()}/0",
    }
    call = CallKey("queued-before-the-outage")
    digest = hashlib.sha256(REQUEST.SerializeToString()).hexdigest()
    method = "forebay.compute.v1.ComputeService.Factorial"
    with closing(BlockingLedger(f"{redis_url}12")) as ledger:
        ledger.run(accept(call, new_call(method=method, digest=digest), "elsewhere", Push()))
        with (
            forebay_gateway(env=environment(**variables)) as (_, address),
            grpc.insecure_channel(address) as channel,
        ):
            attached = ComputeServiceStub(channel).Factorial(
                REQUEST, timeout=30.0, metadata=[("forebay-call-id", call.id)]
            )
            assert dict(attached.initial_metadata())["forebay-attached"] == "running"
            snapshot = ledger.run(watch(call, "looks"))
            assert isinstance(snapshot, CallSnapshot)
            assert snapshot.state is State.QUEUED
            attached.cancel()
