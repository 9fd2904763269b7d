"""Hearing of the calls that this gateway watches: one pub/sub channel for all of them.

Pub/sub loses what is said while a connection is away, so every watch looks into
the ledger when the channel has been subscribed anew, and once in a while anyway;
the look renews the watch's lease as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay_gateway.delivery import Delivery
from forebay_ledger.connection import CONNECT_TIMEOUT_S
from forebay_ledger.events import CallEvent, Reply, parse_frame
from forebay_ledger.keys import CallKey
from forebay_ledger.scripts import LEASE_S

LOOK_EVERY_S = LEASE_S / 3
_RECONNECT_AFTER_S = 0.2

_log = logging.getLogger(__name__)


class Watch:
    """One caller's view of a call: its delivery, and a bell that rings when there is news."""

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.stale = False
        self._bell = asyncio.Event()

    def ring(self) -> None:
        """There is news."""
        self._bell.set()

    async def news(self, timeout_s: float) -> bool:
        """Waits for news; False where none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._bell.wait()
        except TimeoutError:
            return False
        finally:
            self._bell.clear()
        return True


class Watches:
    """The gateway's channel, and who is to hear what comes over it."""

    def __init__(self, ledger_url: str, channel: str) -> None:
        self.channel = channel
        self._ledger_url = ledger_url
        self.on_reply: Callable[[bytes], None] = lambda payload: None
        """Hears the answers to ephemeral calls."""
        self._watches: dict[str, list[Watch]] = {}
        self._subscribed = asyncio.Event()

    @contextmanager
    def open(self, call: CallKey, watch: Watch) -> Iterator[None]:
        """The watch hears of the call until the block is left."""
        watches = self._watches.setdefault(str(call), [])
        watches.append(watch)
        try:
            yield
        finally:
            watches.remove(watch)
            if not watches:
                del self._watches[str(call)]

    def watched(self, call: CallKey) -> bool:
        """Whether anyone here watches the call."""
        return str(call) in self._watches

    def ring_all(self) -> None:
        """Wakes every watch."""
        for watches in self._watches.values():
            for watch in watches:
                watch.ring()

    async def subscribed(self) -> None:
        """Returns when the channel is being heard."""
        await self._subscribed.wait()

    async def listen(self) -> None:
        """Hears the channel until cancelled, subscribing anew whenever it breaks."""
        while True:
            client = redis.asyncio.Redis.from_url(
                self._ledger_url,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                retry=Retry(NoBackoff(), 0),
            )
            try:
                async with client.pubsub() as pubsub:
                    await pubsub.subscribe(self.channel)
                    await self._hear(pubsub.get_message, pubsub.ping)
            except (RedisError, OSError) as error:
                _log.warning("the ledger's pub/sub broke: %s", error)
            finally:
                self._subscribed.clear()
                await client.aclose()
            await asyncio.sleep(_RECONNECT_AFTER_S)

    async def _hear(
        self, get_message: Callable[..., Awaitable[Any]], ping: Callable[[], Awaitable[Any]]
    ) -> None:
        silent = 0
        while True:
            message = await get_message(timeout=LOOK_EVERY_S)
            if message is None:
                # A connection may be half open: two silences with a ping between are its end.
                silent += 1
                if silent > 1:
                    raise OSError("no answer to a ping")
                await ping()
                continue
            silent = 0
            if message["type"] == "subscribe":
                self._subscribed.set()
                self._mark_stale()
            elif message["type"] == "message":
                self._on_frame(message["data"])

    def _mark_stale(self) -> None:
        for watches in self._watches.values():
            for watch in watches:
                watch.stale = True
        self.ring_all()

    def _on_frame(self, frame: bytes) -> None:
        try:
            key, event = parse_frame(frame)
            if isinstance(event, Reply):
                self.on_reply(event.payload)
            else:
                self._on_event(key, event)
        except Exception:  # one frame must not end the hearing of all others
            _log.exception("a frame that can't be read: %r", frame[:80])

    def _on_event(self, key: str, event: CallEvent) -> None:
        for watch in self._watches.get(key, ()):
            watch.delivery.on_event(event)
            watch.ring()
