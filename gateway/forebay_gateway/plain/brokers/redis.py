"""Redis or Valkey as the broker of an existing application, in the forms of kombu's transport.

Queues are lists, which need not be declared; the default key prefix and separator are assumed. A
reply queue is one more list, and nothing takes it away where a gateway dies. So all are
noted, and whoever comes later removes those that nobody reads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancellable
from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.connections import COMMAND_TIMEOUT_S, CONNECT_TIMEOUT_S
from forebay_gateway.plain.brokers.celery_messages import (
    CONTROL_EXCHANGE,
    ControlMessage,
    PlainMessage,
    Reply,
    redis_control,
    redis_reply,
    redis_task,
)

REPLY_QUEUES = "forebay:reply-queues"
"""A sorted set of reply queues, by when they were last read."""

_ABANDONED_S = 3600.0
_LISTEN_S = 5.0
_AGAIN_AFTER_S = 0.2
# A command whose connection broke is tried again, and a task must not be sent twice.
_SEND_ONCE = """
if redis.call('SET', KEYS[2], '', 'NX', 'EX', 60) then redis.call('LPUSH', KEYS[1], ARGV[1]) end
"""

_log = logging.getLogger(__name__)


class RedisBroker:
    """A broker; `reply_queue` is this gateway's own, and `on_reply` hears what comes there."""

    def __init__(self, url: str, reply_queue: str, on_reply: Callable[[Reply], None]) -> None:
        self._url = url
        self._server = Ledger(url)
        self._reply_queue = reply_queue
        self._on_reply = on_reply
        self._topic = f"/{_database(url)}.{CONTROL_EXCHANGE}"
        self.is_listening = False

    async def listen(self) -> None:
        """Reads the reply queue until cancelled, connecting anew whenever that breaks."""
        while True:
            client = redis.asyncio.Redis.from_url(
                self._url,
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=_LISTEN_S + COMMAND_TIMEOUT_S,  # the server waits, so shall we
                retry=Retry(NoBackoff(), 0),
            )
            try:
                await self._hear(client)
            except (RedisError, OSError, TimeoutError, BackendUnavailable) as error:
                if self.is_listening:
                    _log.warning("the broker's reply queue can't be read: %s", error)
            except Exception:  # a fault of ours must not end the gateway
                _log.exception("reading the broker's reply queue failed")
            finally:
                self.is_listening = False
                await client.aclose()
            await asyncio.sleep(_AGAIN_AFTER_S)

    async def send(self, message: PlainMessage) -> bool:
        """Pushes the task; a list needs no declaring, so it is always True."""
        sent = f"forebay:sent:{message.id}"
        push = self._server.redis.eval(
            _SEND_ONCE, 2, message.redis_list, sent, cast(Any, redis_task(message))
        )
        await self._ask(push)
        return True

    async def broadcast(self, control: ControlMessage) -> None:
        """Publishes to the workers' mailboxes."""
        await self._ask(self._server.redis.publish(self._topic, redis_control(control)))

    async def depth(self, queue: str) -> int:
        """The messages on all lists of the queue."""
        with _of_the_broker():
            return sum(await self._server.queue_depths(queue_lists(queue)))

    async def ping(self) -> None:
        """Asks the server."""
        with _of_the_broker():
            await self._server.ping()

    async def close(self) -> None:
        """Closes the connections, after the reply queue."""
        try:
            await self._remove([self._reply_queue])
        except BackendUnavailable:
            _log.info("the reply queue is left to other gateways: the broker is away")
        await self._server.close()

    async def _hear(self, client: redis.asyncio.Redis) -> None:
        noted_at = -_LISTEN_S
        while True:
            if time.monotonic() - noted_at >= _LISTEN_S:
                await self._note()
                noted_at = time.monotonic()
                self.is_listening = True
            async with asyncio.timeout(_LISTEN_S + COMMAND_TIMEOUT_S):
                popping = client.brpop([self._reply_queue], timeout=_LISTEN_S)
                popped: Any = await cancellable(cast(Awaitable[Any], popping))
            if popped is not None:
                self._take(popped[1])

    def _take(self, raw: bytes) -> None:
        try:
            reply = redis_reply(raw)
        except ValueError as error:
            _log.warning("the reply queue has what is none: %s", error)
            return
        try:
            self._on_reply(reply)
        except Exception:  # one reply must not end the hearing of all others
            _log.exception("a reply that can't be taken")

    async def _note(self) -> None:
        """Says that this queue is read, and removes those that are no longer."""
        now = time.time()
        await self._ask(self._server.redis.zadd(REPLY_QUEUES, {self._reply_queue: now}))
        left = await self._ask(
            self._server.redis.zrangebyscore(REPLY_QUEUES, "-inf", now - _ABANDONED_S)
        )
        if left:
            await self._remove(left)

    async def _remove(self, queues: list[Any]) -> None:
        await self._ask(self._server.redis.delete(*queues))
        await self._ask(self._server.redis.zrem(REPLY_QUEUES, *queues))

    async def _ask(self, asked: Any) -> Any:
        with _of_the_broker():
            return await self._server.within_timeout(asked)


@contextmanager
def _of_the_broker() -> Iterator[None]:
    """The server is spoken of as what it is here."""
    try:
        yield
    except BackendUnavailable as error:
        raise BackendUnavailable(
            error.message.replace("the ledger", "the broker"), retry_after_s=error.retry_after_s
        ) from error.__cause__


def _database(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return (parse_qs(parts.query).get("db") or ["0"])[0]
    return parts.path.strip("/") or "0"
