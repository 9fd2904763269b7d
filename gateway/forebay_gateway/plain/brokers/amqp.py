"""RabbitMQ as the broker of an existing application, through kombu.

Task queues are the application's: they are declared nowhere here, since a queue can't be
declared with other arguments than it has. The reply queue outlives a break of its
reader, and of the broker, where what is in it is persistent (`result_persistent`); a minute
after its gateway's end it is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from threading import Event, Thread
from typing import Any

from amqp.exceptions import AMQPError, NotFound
from kombu import Connection, Consumer, Producer, Queue
from kombu.exceptions import KombuError

from forebay_backends.broker.amqp_channels import AmqpChannels, depth, ping
from forebay_backends.ledger.connections import CONNECT_TIMEOUT_S
from forebay_gateway.plain.brokers.celery_messages import (
    CONTROL_EXCHANGE,
    JSON,
    ControlMessage,
    PlainMessage,
    Reply,
)

REPLY_QUEUE_EXPIRES_S = 60
_HEARTBEAT_S = 10
_DRAIN_S = 0.5
_AGAIN_AFTER_S = 0.2
_PREFETCH = 32

_log = logging.getLogger(__name__)


class AmqpBroker:
    """A broker; `reply_queue` is this gateway's own, and `on_reply` hears what comes there."""

    def __init__(self, url: str, reply_queue: str, on_reply: Callable[[Reply], None]) -> None:
        self._url = url
        self._channels = AmqpChannels(url)
        self._reply_queue = reply_queue
        self._on_reply = on_reply
        self._reader: Thread | None = None
        self._stop = Event()
        self.is_listening = False

    async def listen(self) -> None:
        """Reads the reply queue, in a thread, until cancelled."""
        loop = asyncio.get_running_loop()
        self._reader = Thread(target=self._read, args=(loop,), name="forebay-replies", daemon=True)
        self._reader.start()
        try:
            await loop.create_future()
        finally:
            self._stop.set()

    async def send(self, message: PlainMessage) -> bool:
        """Publishes the task, persistent and confirmed; False where its queue is not there."""
        return await self._channels.run(_publish, message)

    async def broadcast(self, control: ControlMessage) -> None:
        """Publishes to the workers' mailboxes."""
        await self._channels.run(_broadcast, control)

    async def depth(self, queue: str) -> int:
        """The messages that are ready in the queue."""
        return await self._channels.run(depth, queue)

    async def ping(self) -> None:
        """Opens and closes a channel."""
        await self._channels.run(ping)

    async def close(self) -> None:
        """Closes the connections; the reply queue expires by itself."""
        self._stop.set()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.join, CONNECT_TIMEOUT_S)
        await self._channels.close()

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        """The reader's thread: over every break, until it is stopped."""
        while not self._stop.is_set():
            try:
                with Connection(
                    self._url, heartbeat=_HEARTBEAT_S, connect_timeout=CONNECT_TIMEOUT_S
                ) as connection:
                    self._hear(connection, loop)
            except (KombuError, AMQPError, OSError) as error:
                if self.is_listening:
                    _log.warning("the broker's reply queue can't be read: %s", error)
            except Exception:  # a fault of ours must not end the gateway
                _log.exception("reading the broker's reply queue failed")
            self.is_listening = False
            self._stop.wait(_AGAIN_AFTER_S)

    def _hear(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        def take(message: Any) -> None:
            reply = Reply(
                task_id=str(message.properties.get("correlation_id") or ""),
                ticket=str((message.headers or {}).get("ticket") or ""),
                content_type=str(message.content_type or ""),
                body=message.body.encode() if isinstance(message.body, str) else message.body,
            )
            loop.call_soon_threadsafe(self._take, reply)
            message.ack()

        channel: Any = connection.channel()
        channel.basic_qos(0, _PREFETCH, False)
        queue = Queue(
            self._reply_queue, durable=True, auto_delete=False, expires=REPLY_QUEUE_EXPIRES_S
        )
        queue(channel).declare()
        with Consumer(channel, [queue], on_message=take, auto_declare=False):
            self.is_listening = True
            checked_at = time.monotonic()
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=_DRAIN_S)
                if time.monotonic() - checked_at >= 1.0:
                    connection.heartbeat_check()
                    checked_at = time.monotonic()

    def _take(self, reply: Reply) -> None:
        try:
            self._on_reply(reply)
        except Exception:  # one reply must not end the hearing of all others
            _log.exception("a reply that can't be taken")


def _publish(channel: Any, message: PlainMessage) -> bool:
    returned: list[Any] = []

    def on_return(*what: Any) -> None:
        returned.append(what)

    channel.events["basic_return"].add(on_return)
    priority: Any = {"priority": message.priority} if message.priority else {}
    try:
        Producer(channel).publish(
            message.body,
            exchange="",
            routing_key=message.queue,
            content_type=JSON,
            content_encoding="utf-8",
            headers=message.headers,
            correlation_id=message.id,
            reply_to=message.reply_to,
            delivery_mode=2,
            mandatory=True,
            retry=False,
            **priority,
        )
    finally:
        channel.events["basic_return"].discard(on_return)
    return not returned


def _broadcast(channel: Any, control: ControlMessage) -> None:
    asking = channel.connection.channel()
    try:
        asking.exchange_declare(CONTROL_EXCHANGE, "fanout", passive=True)
        Producer(asking, auto_declare=False).publish(
            control.body,
            exchange=CONTROL_EXCHANGE,
            routing_key="",
            serializer="json",
            headers={"expires": 0},
            delivery_mode=1,
            retry=False,
        )
    except NotFound:
        pass  # no worker was ever here
    finally:
        if asking.is_open:
            asking.close()
