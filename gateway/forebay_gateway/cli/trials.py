"""Trials of what calls need of the backends: `forebay doctor` runs them.

A server that answers may still refuse a call's commands: a Redis user may lack commands, keys or
channels, and a queue on RabbitMQ may be declared in another way. So each trial does what calls do,
under names of its own. All raise BackendUnavailable.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any

from redis.asyncio.client import PubSub

from forebay_backends.broker.amqp_channels import AmqpChannels
from forebay_backends.broker.amqp_trial import try_queue, try_reply_queue
from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import asyncio_connection
from forebay_backends.ledger.errors import mapped_errors
from forebay_backends.ledger.keys import CallKey, gateway_channel
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.attempts import begin, emit, finish
from forebay_backends.ledger.operations.base import Operation, Push
from forebay_backends.ledger.operations.calls import NewCall, accept
from forebay_backends.ledger.operations.inspection import delete
from forebay_backends.ledger.presence import live_workers
from forebay_backends.ledger.reconnecting import one_node
from forebay_backends.urls import AmqpServer, RedisServer

_NAME = "forebay-doctor"
_HEAR_TIMEOUT_S = 2.0
_KOMBU_BINDINGS = "_kombu.binding.celery"

_TRIAL = NewCall(
    method=_NAME,
    task=_NAME,
    queue=_NAME,
    priority=0,
    digest="",
    receiving=False,
    request=b"",
    metadata=b"",
    timeout_s=None,
    queue_wait_s=5.0,
    run_limit_s=None,
    linger_s=0.0,
    detach=False,
    item_limit_bytes=1024,
    window_bytes=1024,
    retention_s=1.0,
    attempts_limit=1,
    may_run_again=False,
    deterministic=False,
    live=False,
    idle_s=1.0,
)


async def try_ledger(ledger: Ledger, where: RedisServer) -> None:
    """Writes, listens, and takes a call through its life, from its accept to its deletion."""
    await ledger.ping()
    await live_workers(ledger)
    channel = gateway_channel(f"{_NAME}.{uuid.uuid4()}")
    call = CallKey(f"{_NAME}-{uuid.uuid4()}")
    await _try_pub_sub(ledger, where, channel)
    life: Sequence[Operation[Any]] = (
        accept(call, _TRIAL, channel, Push()),
        begin(call, 1, _NAME, channel),
        emit(call, 1, 0, b"item"),
        finish(call, 1, Event.SUCCEED, "", b"", None),
        delete(call),
    )
    for operation in life:
        await ledger.run(operation)
    await ledger.items(call, 0, 1)


async def _try_pub_sub(ledger: Ledger, where: RedisServer, channel: str) -> None:
    """Publishes to a channel and receives the message."""
    with mapped_errors():
        client = asyncio_connection(await one_node(where))
        try:
            async with asyncio.timeout(_HEAR_TIMEOUT_S), client.pubsub() as pubsub:
                await _subscribe(pubsub, ledger.name(channel))
                await ledger.publish(channel, b"")
                await pubsub.get_message(timeout=None)
        finally:
            await client.aclose()


async def _subscribe(pubsub: PubSub, channel: str) -> None:
    """Raises if the user may not: redis-py sends the command and does not read its reply."""
    await pubsub.subscribe(channel)
    await pubsub.get_message(timeout=None)


async def try_redis_broker(
    where: RedisServer, queues: Sequence[str], *, remote_control: bool
) -> None:
    """Pushes and pops a message of its own; removes nothing from each of the routes' queues."""
    server = Ledger(where, "the broker")
    try:
        await server.ping()
        for queue in queues:
            for name in queue_lists(queue):
                await _run(server, "LREM", server.name(name), 0, _NAME)
        await _run(server, "SMEMBERS", server.name(_KOMBU_BINDINGS))
        if remote_control:
            pidbox = server.name(f"/{where.db}.celery.pidbox")
            async with server.redis.pubsub() as pubsub:
                await server.within_timeout(_subscribe(pubsub, pidbox))
        own = server.name(f"forebay:doctor:{uuid.uuid4()}")
        await _run(server, "LPUSH", own, b"")
        await _run(server, "BRPOP", own, 1)
    finally:
        await server.close()


async def _run(server: Ledger, *command: Any) -> None:
    await server.within_timeout(server.redis.execute_command(*command))


async def try_amqp_broker(where: AmqpServer, queues: Sequence[str]) -> None:
    """Declares, publishes to and reads a queue of its own; checks the routes' queues."""
    channels = AmqpChannels(where)
    try:
        await channels.run(try_reply_queue)
        for queue in queues:
            await channels.run(try_queue, queue)
    finally:
        await channels.close()
