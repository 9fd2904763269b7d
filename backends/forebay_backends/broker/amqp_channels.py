"""Channels to RabbitMQ.

kombu's calls block, so they run in a few threads, each with a connection of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import get_ident, local
from typing import Any, Concatenate, ParamSpec, TypeVar

from amqp.exceptions import AMQPError, NotFound
from kombu import Connection, Producer
from kombu.exceptions import KombuError

from forebay.errors import BackendUnavailable
from forebay_backends.aio.outage_log import OnceInAWhile
from forebay_backends.broker.amqp_errors import BLOCKED, broker_state, fix_of
from forebay_backends.ledger.connections import CONNECT_TIMEOUT_S
from forebay_backends.ledger.errors import RETRY_AFTER_S
from forebay_backends.urls import AmqpServer

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

SEND_TIMEOUT_S = 5.0
_THREADS = 4
_NO_QUEUE = "forebay.ping"
_PING_AFTER_IDLE_S = 0.1
_TRANSPORT_OPTIONS = {
    "confirm_publish": True,
    "read_timeout": SEND_TIMEOUT_S,
    "write_timeout": SEND_TIMEOUT_S,
}


class AmqpChannels:
    """Runs functions that need a channel, each within `SEND_TIMEOUT_S`. Call `close` at the end."""

    def __init__(self, server: AmqpServer, called: str = "broker") -> None:
        self._server = server
        self._called = called
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="forebay-amqp")
        self._local = local()
        self._connections: set[Connection] = set()
        self._blocked_threads: set[int] = set()  # until a connection of the thread is not blocked
        self._warnings = OnceInAWhile()

    async def run(
        self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """The result of `work(channel, ...)`; raises BackendUnavailable."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                return await loop.run_in_executor(
                    self._threads, lambda: self._with_channel(work, *args, **kwargs)
                )
        except (KombuError, AMQPError, OSError, TimeoutError) as error:
            state = BLOCKED if self._blocked_threads else broker_state(error)
            self._log_refusal(state, error)
            raise BackendUnavailable(
                f"the {self._called} {state}", retry_after_s=RETRY_AFTER_S
            ) from error

    def _log_refusal(self, state: str, error: Exception) -> None:
        """Logs each refusal of the broker once a minute; the health check logs its silence."""
        fix = fix_of(error)
        if fix is None and not self._blocked_threads:
            return
        if self._warnings.passes(state):
            _log.warning("the %s %s%s", self._called, state, f"; to fix it: {fix}" if fix else "")

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        for connection in tuple(self._connections):
            await asyncio.to_thread(connection.collect, CONNECT_TIMEOUT_S)

    def _with_channel(
        self, work: Callable[Concatenate[Any, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        with self._channel() as channel:
            return work(channel, *args, **kwargs)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """This thread's channel; any failure drops its connection."""
        connection = self._connected()
        try:
            yield connection.default_channel
            if not self._local.is_blocked:
                self._blocked_threads.discard(get_ident())
            self._local.used_at = time.monotonic()
        except Exception:  # whatever failed, the connection may be in the middle of a frame
            self._drop(connection)
            raise

    def _connected(self) -> Connection:
        """This thread's connection.

        One that was idle is pinged first: a message that must not be sent twice would be lost on
        a connection that has died meanwhile.
        """
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is not None and time.monotonic() - self._local.used_at > _PING_AFTER_IDLE_S:
            try:
                open_channel(connection.default_channel)
            except (KombuError, AMQPError, OSError):
                self._drop(connection)
                connection = None
        if connection is None:
            connection = Connection(
                self._server.kombu_url,
                **{"connect_timeout": CONNECT_TIMEOUT_S} | self._server.for_kombu(),
                transport_options=_TRANSPORT_OPTIONS
                | {"on_blocked": self._on_blocked, "on_unblocked": self._on_unblocked},
            )
            self._local.is_blocked = False
            connection.connect()
            self._local.connection = connection
            self._local.used_at = time.monotonic()
            self._connections.add(connection)
        return connection

    def _on_blocked(self, _reason: str) -> None:
        """Runs in the connection's thread.

        A broker with an alarm confirms a connection's first message, and then blocks it: that
        confirm does not mean that the alarm is over.
        """
        self._local.is_blocked = True
        self._blocked_threads.add(get_ident())

    def _on_unblocked(self) -> None:
        self._local.is_blocked = False
        self._blocked_threads.discard(get_ident())

    def _drop(self, connection: Connection) -> None:
        self._local.connection = None
        self._connections.discard(connection)
        connection.collect(socket_timeout=CONNECT_TIMEOUT_S)


def open_channel(channel: Any) -> None:
    """Opens and closes a channel, which fails if the broker does not answer."""
    channel.connection.channel().close()


def ping(channel: Any) -> None:
    """Publishes a message that no queue gets: a broker with an alarm would not confirm it."""
    Producer(channel, auto_declare=False).publish(
        b"",
        exchange="",
        routing_key=_NO_QUEUE,
        content_type="text/plain",
        content_encoding="utf-8",
        retry=False,
    )


def queue_depth(channel: Any, queue: str) -> int:
    """The number of ready messages, however the queue was declared; 0 if there is none."""
    # The broker closes a channel that declares a queue passively which does not exist.
    throwaway = channel.connection.channel()
    try:
        return int(throwaway.queue_declare(queue, passive=True).message_count)
    except NotFound:
        return 0
    finally:
        if throwaway.is_open:
            throwaway.close()
