"""Listening to pub/sub channels for as long as a process lives, through every broken connection.

Redis drops whatever is published while a subscriber is disconnected. So `on_subscribed`, called
after every subscription, is the place to read the state that the missed messages were about.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import redis.asyncio

from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, server_of
from forebay_backends.ledger.reconnecting import keep_connected
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.urls import RedisServer

_SILENCE_S = LEASE_S / 3

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
    """As `listen`, to all channels that match; `on_message` is given the channel's name.

    Neither pattern nor name is without the server's key prefix: Celery has its own form of it.

    The log calls the Redis by the name `called`.
    """
    where = server_of(server)
    subscription = _Subscription(
        lambda pubsub: pubsub.psubscribe(pattern),
        lambda channel, payload: on_message(channel.decode(), payload),
        on_subscribed,
    )
    name = f"listening to the {called}'s pub/sub"
    await keep_connected(where, subscription.run, _log, name, on_broken=on_broken)


@dataclass(frozen=True)
class _Subscription:
    subscribe: Callable[[Any], Awaitable[None]]
    on_message: Callable[[bytes, bytes], None]
    on_subscribed: Callable[[], None]

    async def run(self, client: redis.asyncio.Redis, on_connected: Callable[[], None]) -> None:
        """Listens on one connection; raises RedisError or OSError when that breaks."""
        async with client.pubsub() as pubsub:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await cancellable(self.subscribe(pubsub))
            pings = 0
            while True:
                message = await pubsub.get_message(timeout=_SILENCE_S)
                if message is None:
                    # The connection may be half open: it must answer a ping within the timeout.
                    if pings:
                        raise OSError("no answer to a ping")
                    pings += 1
                    await cancellable(pubsub.ping())
                    continue
                pings = 0
                if message["type"] in ("subscribe", "psubscribe"):
                    on_connected()
                    self.on_subscribed()
                elif message["type"] in ("message", "pmessage"):
                    self._deliver(message["channel"], message["data"])

    def _deliver(self, channel: bytes, payload: bytes) -> None:
        try:
            self.on_message(channel, payload)
        except Exception:  # one bad message must not end the listening to all others
            _log.exception("a pub/sub message can't be handled: %r", payload[:80])
