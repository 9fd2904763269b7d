"""Hearing pub/sub channels for as long as a process lives, over every break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay_backends.aio.cancellation import cancellable
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S
from forebay_backends.ledger.scripts import LEASE_S

_SILENCE_S = LEASE_S / 3
_RECONNECT_AFTER_S = 0.2

_log = logging.getLogger(__name__)


async def listen(
    url: str,
    channels: Sequence[str],
    on_frame: Callable[[bytes], None],
    on_subscribed: Callable[[], None] = lambda: None,
    on_broken: Callable[[], None] = lambda: None,
) -> None:
    """Hears the channels until cancelled, subscribing anew whenever the connection breaks.

    Pub/sub loses what is said while the connection is away: `on_subscribed` is for
    asking the ledger about it.
    """
    while True:
        client = redis.asyncio.Redis.from_url(
            url, socket_connect_timeout=CONNECT_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        try:
            async with client.pubsub() as pubsub:
                async with asyncio.timeout(COMMAND_TIMEOUT_S):
                    await cancellable(pubsub.subscribe(*channels))
                await _hear(pubsub.get_message, pubsub.ping, on_frame, on_subscribed)
        except (RedisError, OSError) as error:
            _log.warning("the ledger's pub/sub broke: %s", error)
        finally:
            on_broken()
            await client.aclose()
        await asyncio.sleep(_RECONNECT_AFTER_S)


async def _hear(
    get_message: Callable[..., Awaitable[Any]],
    ping: Callable[[], Awaitable[Any]],
    on_frame: Callable[[bytes], None],
    on_subscribed: Callable[[], None],
) -> None:
    silent = 0
    while True:
        message = await get_message(timeout=_SILENCE_S)
        if message is None:
            # A connection may be half open: two silences with a ping between are its end.
            silent += 1
            if silent > 1:
                raise OSError("no answer to a ping")
            await cancellable(ping())
            continue
        silent = 0
        if message["type"] == "subscribe":
            on_subscribed()
        elif message["type"] == "message":
            try:
                on_frame(message["data"])
            except Exception:  # one frame must not end the hearing of all others
                _log.exception("a frame that can't be taken: %r", message["data"][:80])
