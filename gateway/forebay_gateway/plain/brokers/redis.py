"""Redis or Valkey as an existing application's broker, in the formats of kombu's transport.

A reply queue is a list, which Redis keeps when its gateway dies. So each gateway registers its
queue in a sorted set, scored by the time of its last read, and deletes the queues of other
gateways that were not read for an hour.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import redis.asyncio

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.broker.redis import RedisBroker, sent_key
from forebay_backends.broker.task_messages import redis_push
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S
from forebay_backends.ledger.reconnecting import keep_connected
from forebay_backends.urls import RedisServer
from forebay_gateway.plain.brokers.base import Withdrawal
from forebay_gateway.plain.brokers.celery_messages import (
    CONTROL_EXCHANGE,
    ControlMessage,
    PlainMessage,
    Reply,
    redis_control,
    redis_reply,
)

REPLY_QUEUES = "forebay:reply-queues"
"""A sorted set of reply queues, by when they were last read."""

_UNACKED = "unacked"
"""kombu's hash of messages that workers have taken, by delivery tag."""
# LREM searches from the end of the list, which has the oldest messages: those are withdrawn most
# often. The key that is set stops a push of the message that is still on its way; see
# `RedisBroker.send`.
_WITHDRAW = """
redis.call('SET', KEYS[2], '', 'EX', 60)
if redis.call('LREM', KEYS[1], -1, ARGV[1]) > 0 then return 'REMOVED' end
if redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 then return 'HELD' end
return 'ABSENT'
"""
_ABANDONED_AFTER_S = 3600.0
_POP_TIMEOUT_S = 5.0

_log = logging.getLogger(__name__)


class PlainRedisBroker(RedisBroker):
    """A `PlainBroker`; passes each reply on this gateway's `reply_queue` to `on_reply`."""

    can_withdraw = True

    def __init__(
        self,
        server: RedisServer,
        reply_queue: str,
        on_reply: Callable[[Reply], None],
        called: str = "broker",
    ) -> None:
        super().__init__(Ledger(server, f"the {called}"))
        self._called = called
        self._where = server
        self._reply_queue = reply_queue
        self._on_reply = on_reply
        self._control_channel = f"/{server.db}.{CONTROL_EXCHANGE}"
        self.is_listening = False

    async def listen(self) -> None:
        await keep_connected(
            self._where,
            self._read_replies,
            _log,
            f"reading the reply queue of the {self._called}",
            on_broken=self._on_broken,
            socket_timeout_s=_POP_TIMEOUT_S + COMMAND_TIMEOUT_S,  # BRPOP blocks for the first
        )

    async def broadcast(self, control: ControlMessage) -> None:
        await self._server.publish(self._control_channel, redis_control(control))

    async def withdraw(self, message: PlainMessage) -> Withdrawal:
        push = redis_push(message)
        names = (push.queue_list, sent_key(message), _UNACKED)
        keys = [self._server.name(name) for name in names]
        values = (push.message, message.delivery_tag)
        found: Any = await self._server.within_timeout(
            self._server.redis.eval(_WITHDRAW, len(keys), *keys, *values)
        )
        return Withdrawal[found.decode()]

    async def close(self) -> None:
        try:
            await self._delete_reply_queues([self._reply_queue])
        except BackendUnavailable:
            _log.info(
                "the %s is unavailable; another gateway will delete the reply queue", self._called
            )
        await super().close()

    def _on_broken(self) -> None:
        self.is_listening = False

    async def _read_replies(
        self, client: redis.asyncio.Redis, on_connected: Callable[[], None]
    ) -> None:
        registered_at = -_POP_TIMEOUT_S
        while True:
            if time.monotonic() - registered_at >= _POP_TIMEOUT_S:
                await self._register_reply_queue()
                registered_at = time.monotonic()
                self.is_listening = True
                on_connected()
            async with asyncio.timeout(_POP_TIMEOUT_S + COMMAND_TIMEOUT_S):
                popping = client.brpop(
                    [self._server.name(self._reply_queue)], timeout=_POP_TIMEOUT_S
                )
                popped: Any = await cancellable(cast(Awaitable[Any], popping))
            if popped is not None:
                self._deliver(popped[1])

    def _deliver(self, raw: bytes) -> None:
        try:
            reply = redis_reply(raw)
        except ValueError as error:
            _log.warning("a message on the reply queue is not a reply: %s", error)
            return
        try:
            self._on_reply(reply)
        except Exception:  # one bad reply must not end the reading of all others
            _log.exception("a reply can't be handled")

    async def _register_reply_queue(self) -> None:
        """Records that this gateway reads its queue, and deletes queues that no gateway reads."""
        server, now = self._server, time.time()
        registry = server.name(REPLY_QUEUES)
        await server.within_timeout(server.redis.zadd(registry, {self._reply_queue: now}))
        abandoned = await server.within_timeout(
            server.redis.zrangebyscore(registry, "-inf", now - _ABANDONED_AFTER_S)
        )
        if abandoned:
            await self._delete_reply_queues([queue.decode() for queue in abandoned])

    async def _delete_reply_queues(self, queues: list[str]) -> None:
        server = self._server
        await server.within_timeout(server.redis.delete(*map(server.name, queues)))
        await server.within_timeout(server.redis.zrem(server.name(REPLY_QUEUES), *queues))
