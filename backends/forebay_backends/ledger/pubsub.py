"""Listening to pub/sub channels for as long as a process lives, through every broken connection.

Redis drops whatever is published while a subscriber is disconnected. So `on_subscribed`, called
after every subscription, is the place to read the state that the missed messages were about.

An open connection may be useless: it may be half open, or its server may have become a
replica in a failover that broke no connection. So a listener publishes to itself every
`_CHECK_INTERVAL_S`, on another connection. It subscribes again if that server is a replica,
if the publish reached no subscriber there, or if it was not received before the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio
from redis.exceptions import ClusterDownError

from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, server_of
from forebay_backends.ledger.errors import is_demotion
from forebay_backends.ledger.keys import PROBE
from forebay_backends.ledger.reconnecting import keep_connected
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.urls import RedisServer

FIRST_SUBSCRIPTION_S = 5.0
"""How long a gateway that starts waits until it listens; after that it serves all the same."""
_CHECK_INTERVAL_S = LEASE_S / 6
_CHECK = b"forebay-check"
"""The payload of a listener's messages to itself."""

_log = logging.getLogger(__name__)


async def listen(
    server: RedisServer | str,
    channels: Sequence[str],
    on_frame: Callable[[bytes], None],
    on_subscribed: Callable[[], None] = lambda: None,
    on_broken: Callable[[], None] = lambda: None,
) -> None:
    """Listens to the channels until cancelled, and subscribes again after every break.

    `on_subscribed` is called for each channel, `on_broken` after each connection.
    """
    where = server_of(server)
    names = [where.key_prefix + channel for channel in channels]
    subscription = _Subscription(
        lambda pubsub: pubsub.subscribe(*names),
        where.key_prefix + PROBE,
        names[0],
        lambda _, payload: on_frame(payload),
        on_subscribed,
    )
    name = "listening to the ledger's pub/sub"
    await keep_connected(where, subscription.run, _log, name, on_broken=on_broken)


async def listen_to_pattern(
    server: RedisServer | str,
    pattern: str,
    on_message: Callable[[str, bytes], None],
    on_subscribed: Callable[[], None],
    on_broken: Callable[[], None],
    *,
    called: str,
) -> None:
    """Like `listen`, for all channels that match; `on_message` is given the channel's name.

    Pattern and names include the server's key prefix, which Celery writes in its own form. Log
    messages call the Redis `called`.
    """
    where = server_of(server)
    subscription = _Subscription(
        lambda pubsub: pubsub.psubscribe(pattern),
        where.key_prefix + PROBE,
        pattern.replace("*", "check"),
        lambda channel, payload: on_message(channel.decode(), payload),
        on_subscribed,
    )
    name = f"listening to the {called}'s pub/sub"
    await keep_connected(where, subscription.run, _log, name, on_broken=on_broken)


@dataclass(frozen=True)
class _Subscription:
    subscribe: Callable[[Any], Awaitable[None]]
    check_key: str
    check_channel: str
    on_message: Callable[[bytes, bytes], None]
    on_subscribed: Callable[[], None]

    async def run(self, client: redis.asyncio.Redis, on_connected: Callable[[], None]) -> None:
        """Listens on one connection; raises RedisError or OSError when it no longer works."""
        await self._check(client, 0)
        async with client.pubsub() as pubsub:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await cancellable(self.subscribe(pubsub))
            is_silent, check_at = False, time.monotonic() + _CHECK_INTERVAL_S
            while True:
                wait_s = check_at - time.monotonic()
                if wait_s <= 0:
                    if is_silent:
                        raise OSError("the connection is silent")
                    await self._check(client, 1)
                    is_silent, check_at = True, time.monotonic() + _CHECK_INTERVAL_S
                    continue
                message = await pubsub.get_message(timeout=wait_s)
                if message is None:
                    continue
                is_silent = False
                if message["type"] in ("subscribe", "psubscribe"):
                    on_connected()
                    self.on_subscribed()
                elif message["data"] != _CHECK:
                    self._deliver(message["channel"], message["data"])

    async def _check(self, client: redis.asyncio.Redis, least_subscribers: int) -> None:
        """Publishes to this listener; raises RedisError or OSError if that can't reach it."""
        async with asyncio.timeout(COMMAND_TIMEOUT_S), client.pipeline(False) as pipeline:
            pipeline.delete(
                self.check_key
            )  # a write that a full server takes, and a replica refuses
            pipeline.publish(self.check_channel, _CHECK)
            replies = await cancellable(pipeline.execute(raise_on_error=False))
        for reply in replies:
            # A node that was taken out of its cluster takes messages, but none from the cluster.
            if is_demotion(reply) or isinstance(reply, ClusterDownError):
                raise reply
        *_, reached = replies
        if isinstance(reached, Exception):
            raise reached
        if reached < least_subscribers:
            raise OSError("the server does not have the subscription")

    def _deliver(self, channel: bytes, payload: bytes) -> None:
        try:
            self.on_message(channel, payload)
        except Exception:  # one bad message must not end the listening to all others
            _log.exception("a pub/sub message of %d bytes can't be handled", len(payload))
