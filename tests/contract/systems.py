"""Access to the broker and the ledger of a running system."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
import redis
from amqp.exceptions import NotFound
from kombu import Connection

from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.embedded.server import socket_url
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.urls import Backends, backends
from tests.harness import environment, forebay_gateway


def backends_of(variables: Mapping[str, str]) -> Backends:
    """Broker and ledger, as gateway and workers read them from the settings."""
    ledger = variables.get("FOREBAY_LEDGER_URL") or socket_url(Path(variables["FOREBAY_DATA_DIR"]))
    return backends(ledger, variables.get("FOREBAY_BROKER_URL"))


@contextmanager
def gateway_stub(variables: Mapping[str, str], **more: str) -> Iterator[ComputeServiceStub]:
    """A stub on a gateway of its own, without workers."""
    with (
        forebay_gateway(env=environment(**variables, **more)) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        yield ComputeServiceStub(channel)


@dataclass(frozen=True)
class Waiting:
    """A task message that waits on a broker, in the broker's form."""

    content_type: str
    headers: dict[str, Any]
    body: bytes


def messages_in(broker_url: str, queue: str) -> int:
    """The number of messages of ordinary priority that wait in the queue, if it exists."""
    if broker_url.startswith("redis"):
        with redis.Redis.from_url(broker_url) as server:
            return int(server.llen(queue))
    with Connection(broker_url) as connection:
        try:
            declared = connection.default_channel.queue_declare(queue, passive=True)
        except NotFound:
            return 0
        return int(declared.message_count)


def take_messages(on: Backends, queue: str) -> list[Waiting]:
    """Removes and returns all messages in the queue, the most urgent first."""
    if on.broker_is_redis:
        return list(_from_redis(on, queue))
    return list(_from_amqp(on.broker_url, queue))


def _from_redis(on: Backends, queue: str) -> Iterator[Waiting]:
    with closing(BlockingLedger(on.ledger_url)) as server:
        for name in queue_lists(queue):
            while (raw := cast("bytes | None", server.redis.rpop(name))) is not None:
                wire = json.loads(raw)
                assert wire["properties"]["body_encoding"] == "base64"
                yield Waiting(wire["content-type"], wire["headers"], b64decode(wire["body"]))


def _from_amqp(url: str, queue: str) -> Iterator[Waiting]:
    with Connection(url) as connection, connection.channel() as channel:
        while (message := _got(channel, queue)) is not None:
            body = message.body
            yield Waiting(
                message.properties["content_type"],
                message.headers,
                body.encode() if isinstance(body, str) else bytes(body),
            )


def _got(channel: Any, queue: str) -> Any:
    try:
        return channel.basic_get(queue, no_ack=True)
    except NotFound:  # nobody has declared the queue yet
        return None
