"""RabbitMQ as the broker of an existing application, through kombu.

Task queues belong to the application and are never declared here: RabbitMQ refuses to declare an
existing queue with different arguments. The reply queue survives a broken connection. The queue and
its persistent messages (Celery's `result_persistent`) also survive a restart of the broker. It
expires a minute after its gateway has ended.
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

from forebay_backends.aio.outage_log import OutageLog
from forebay_backends.broker.amqp import AmqpBroker
from forebay_backends.ledger.connections import CONNECT_TIMEOUT_S
from forebay_backends.ledger.reconnecting import RECONNECT_DELAY_S
from forebay_backends.urls import AmqpServer
from forebay_gateway.plain.brokers.base import Withdrawal
from forebay_gateway.plain.brokers.celery_messages import (
    CONTROL_EXCHANGE,
    ControlMessage,
    PlainMessage,
    Reply,
)

REPLY_QUEUE_EXPIRES_S = 60
_HEARTBEAT_S = 10
_HEARTBEAT_CHECK_INTERVAL_S = 1.0
_STOP_CHECK_INTERVAL_S = 0.5
_PREFETCH = 32

_log = logging.getLogger(__name__)


class PlainAmqpBroker(AmqpBroker):
    """A `PlainBroker` that passes messages from this gateway's `reply_queue` to `on_reply`."""

    can_withdraw = False

    def __init__(
        self,
        server: AmqpServer,
        reply_queue: str,
        on_reply: Callable[[Reply], None],
        called: str = "broker",
    ) -> None:
        super().__init__(server, called)
        self._server = server
        self._reply_queue = reply_queue
        self._on_reply = on_reply
        self._reader: Thread | None = None
        self._stop = Event()
        self._reading = f"reading the reply queue of the {called}"
        self._outage = OutageLog(
            _log, f"{self._reading} is interrupted", f"{self._reading} resumes"
        )
        self.is_listening = False

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._reader = Thread(target=self._run, args=(loop,), name="forebay-replies", daemon=True)
        self._reader.start()
        try:
            await loop.create_future()
        finally:
            self._stop.set()

    async def broadcast(self, control: ControlMessage) -> None:
        await self._channels.run(_publish_control, control)

    async def withdraw(self, _: PlainMessage) -> Withdrawal:
        return Withdrawal.UNSUPPORTED  # the message leaves its queue after its `max_queue_s`

    async def close(self) -> None:
        self._stop.set()
        if self._reader is not None:
            await asyncio.to_thread(self._reader.join, CONNECT_TIMEOUT_S)
        await super().close()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Reads replies in the reader's thread until stopped; reconnects after errors."""
        given_s = self._server.options.heartbeat_s
        while not self._stop.is_set():
            try:
                with Connection(
                    self._server.kombu_url,
                    heartbeat=_HEARTBEAT_S if given_s is None else given_s,
                    **{"connect_timeout": CONNECT_TIMEOUT_S} | self._server.for_kombu(),
                ) as connection:
                    self._read_replies(connection, loop)
            except (KombuError, AMQPError, OSError) as error:
                self._outage.failed(error)
            except Exception:  # a bug must not end the gateway
                _log.exception("%s failed; it is retried", self._reading)
            self.is_listening = False
            self._stop.wait(RECONNECT_DELAY_S)

    def _read_replies(self, connection: Connection, loop: asyncio.AbstractEventLoop) -> None:
        def on_message(message: Any) -> None:
            reply = Reply(
                task_id=str(message.properties.get("correlation_id") or ""),
                ticket=str((message.headers or {}).get("ticket") or ""),
                content_type=str(message.content_type or ""),
                body=message.body.encode() if isinstance(message.body, str) else message.body,
            )
            loop.call_soon_threadsafe(self._deliver, reply)
            message.ack()

        channel: Any = connection.channel()
        channel.basic_qos(0, _PREFETCH, False)
        queue = Queue(
            self._reply_queue, durable=True, auto_delete=False, expires=REPLY_QUEUE_EXPIRES_S
        )
        queue(channel).declare()
        with Consumer(channel, [queue], on_message=on_message, auto_declare=False):
            self.is_listening = True
            self._outage.succeeded()
            checked_at = time.monotonic()
            while not self._stop.is_set():
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=_STOP_CHECK_INTERVAL_S)
                if time.monotonic() - checked_at >= _HEARTBEAT_CHECK_INTERVAL_S:
                    connection.heartbeat_check()
                    checked_at = time.monotonic()

    def _deliver(self, reply: Reply) -> None:
        try:
            self._on_reply(reply)
        except Exception:  # one bad reply must not end the reader
            _log.exception("a reply can't be handled")


def _publish_control(channel: Any, control: ControlMessage) -> None:
    # The broker closes a channel that publishes to an exchange which does not exist.
    throwaway = channel.connection.channel()
    try:
        throwaway.exchange_declare(CONTROL_EXCHANGE, "fanout", passive=True)
        Producer(throwaway, auto_declare=False).publish(
            control.body,
            exchange=CONTROL_EXCHANGE,
            routing_key="",
            serializer="json",
            headers={"expires": 0},
            delivery_mode=1,
            retry=False,
        )
    except NotFound:
        pass  # the first worker declares the exchange, so there are no workers
    finally:
        if throwaway.is_open:
            throwaway.close()
