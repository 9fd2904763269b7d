"""A kombu Redis transport that survives failovers and skips the `unacked` bookkeeping.

kombu's own transport ends a worker ("Unrecoverable error") in three cases:

- The server becomes a replica, or has too few replicas, while the worker waits for messages.
  The server then replies with an error, which kombu treats as a programming error. This
  transport treats it as a broken connection, and Celery reconnects.
- A queue's list contains an entry that is not a message. This transport logs and drops it.
- The server dies between a message and its acknowledgement. Restoring the message then
  raises. This transport logs the failure; the ledger resends the lost messages.

It subscribes by name, while kombu uses patterns: see `_Subscribing`.

Only connections of Forebay's applications use the transport. An alias of our own in
`kombu.transport.TRANSPORT_ALIASES` was turned down: kombu turns TLS on for the scheme
`rediss` alone, and banner, `celery inspect` and Flower would show the unknown scheme.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from json import JSONDecodeError
from queue import Empty
from time import monotonic
from typing import Any

from celery.app import amqp
from kombu import Connection as KombuConnection
from kombu.transport import redis, virtual
from kombu.utils.collections import HashedSeq
from kombu.utils.encoding import bytes_to_str
from kombu.utils.json import loads
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError, RedisError, ResponseError
from redis.retry import Retry

from forebay_backends.broker.task_messages import ORIGIN
from forebay_backends.ledger.sentinels import Sentinels

_OVERDUE_S = 2.0
_MOST_MESSAGES = 32
"""Limit for one round trip: while the worker starts the messages, its loop does nothing else."""
CAME_FROM = "forebay_queue"
"""Key in a message's delivery info: the queue that the message was taken from."""

_log = logging.getLogger(__name__)


class _QoS(redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        if _is_forebays(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if _is_forebays(self._delivered_message(delivery_tag)):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        message = self._delivered_message(tag)
        if not _is_forebays(message):
            super().restore_by_tag(tag, client, leftmost)
            return
        channel: Any = self.channel
        to = message.delivery_info
        with channel.conn_or_acquire(client) as client:
            channel._do_restore_message(
                message._raw, to["exchange"], to["routing_key"], client, leftmost
            )

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            super().restore_unacked_once(stderr)
        except (AttributeError, OSError, RedisError) as error:
            # AttributeError: kombu's connection may have dropped its address already.
            _log.warning("unacknowledged messages were not restored, the ledger resends: %s", error)

    def _delivered_message(self, tag: str) -> Any:
        delivered: Any = self._delivered
        return delivered.get(tag)


def _is_forebays(message: Any) -> bool:
    return message is not None and message.headers.get("origin") == ORIGIN


_KombuChannel: Any = redis.Channel  # the type stubs lack private members
_KombuSentinelChannel: Any = redis.SentinelChannel


class _Subscribing:
    """Subscribes to topics by name; kombu always uses PSUBSCRIBE, even for plain names.

    A Redis user with the ACL rule `&myapp:*` may SUBSCRIBE to each channel that matches, but may
    PSUBSCRIBE only to exactly this pattern.
    """

    def _subscribe(self: Any) -> None:
        topics = [
            topic
            for queue in self.active_fanout_queues
            for topic in self._get_subscribe_topics(queue)
        ]
        if not topics:
            return
        client = self.subclient
        if client.connection._sock is None:
            client.connection.connect()
        self._in_listen = client.connection
        client.subscribe(*topics)

    def _unsubscribe_from(self: Any, queue: str) -> None:
        client = self.subclient
        if client.connection and client.connection._sock:
            client.unsubscribe(*self._get_subscribe_topics(queue))


class _InvalidMessageError(ValueError):
    """An entry of a queue is not a kombu message."""


class _Message(virtual.Message):
    """Raises _InvalidMessageError if parts lack the types that kombu and Celery assume."""

    def __init__(self, payload: Any, channel: Any = None, **kwargs: Any) -> None:
        try:
            properties, to = payload["properties"], payload["properties"]["delivery_info"]
            address = properties["delivery_tag"], to["exchange"], to["routing_key"]
            if not isinstance(payload["headers"], dict) or {type(a) for a in address} != {str}:
                raise TypeError("headers, delivery tag or delivery info have other types")
            super().__init__(payload, channel, **kwargs)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _InvalidMessageError(f"{type(error).__name__}: {error}") from error


_INVALID = (JSONDecodeError, UnicodeDecodeError, _InvalidMessageError)


class FreeSlots:
    """How many messages the worker may take at a time; a pool of many slots replaces `count`."""

    count: Callable[[], int] = staticmethod(lambda: 1)


class _DroppingInvalid:
    Message = _Message

    def _brpop_read(self: Any, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except _INVALID as error:
            _dropped(error)
            raise Empty from error  # as if the queue had been empty


def _dropped(error: Exception) -> None:
    _log.warning("an entry of a queue is not a Celery message; it is dropped: %s", error)


class _TakingSeveral(_DroppingInvalid):
    """Takes as many messages of a queue as there are free slots in one round trip, by BLMPOP.

    The round trip is half of the work that Celery and kombu do for a message: they send BRPOP,
    register its socket and poll. BRPOP is used if the Redis user lacks permission for BLMPOP.
    """

    _lacks_blmpop = False
    _takes_several = False

    def _brpop_start(self: Any, timeout: float | None = None) -> None:
        most = 1 if self._lacks_blmpop else min(FreeSlots.count(), _MOST_MESSAGES)
        self._takes_several = most > 1
        if not self._takes_several:
            super()._brpop_start(timeout)  # type: ignore[misc]
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        keys = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = monotonic()
        prefixed = [f"{self.global_keyprefix}{key}" for key in keys]
        timeout_s = self.brpop_timeout if timeout is None else timeout
        connection.send_command(
            "BLMPOP", timeout_s or 0, len(keys), *prefixed, "RIGHT", "COUNT", most
        )

    def _brpop_read(self: Any, **options: Any) -> Any:
        if not self._takes_several:
            return super()._brpop_read(**options)
        try:
            reply = self.client.parse_response(self.client.connection, "BLMPOP", **options)
        except NoPermissionError as error:
            self._lacks_blmpop = True
            raise Empty from error
        except self.connection_errors:
            self.client.connection.disconnect()
            raise
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not reply:
            raise Empty
        name, messages = reply
        queue = bytes_to_str(name).removeprefix(self.global_keyprefix).rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        for message in messages:
            try:
                self.connection._deliver(loads(bytes_to_str(message)), queue)
            except _INVALID as error:
                _dropped(error)
        return True


class _Channel(_Subscribing, _TakingSeveral, _KombuChannel):  # type: ignore[misc]
    QoS = _QoS

    def close(self) -> None:
        """Closes the channel without waiting for an overdue reply to BRPOP.

        The server's wall clock decides when a BRPOP times out. If that clock was stepped back by
        an hour, kombu would wait for the reply, and the worker's shutdown would take an hour.
        """
        channel: Any = self
        waiting = channel._in_poll
        if waiting and not waiting.can_read(timeout=channel.brpop_timeout + _OVERDUE_S):
            waiting.disconnect()
            channel._in_poll = None
        super().close()


class _SentinelChannel(_Subscribing, _TakingSeveral, _KombuSentinelChannel):  # type: ignore[misc]
    QoS = _QoS

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # redis-py would retry a dead master for long. Celery reconnects, by way of the Sentinels.
        parameters: dict[str, Any] = super()._connparams(asynchronous)
        return parameters | {"retry": Retry(NoBackoff(), 0)}

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        pool = super()._sentinel_managed_pool(asynchronous)
        pool.sentinel_manager = Sentinels(pool.sentinel_manager)
        return pool


class Transport(redis.Transport):
    """kombu's Redis transport with our channel and one more kind of connection error."""

    Channel: Any = _Channel

    # Celery reads the errors of the class, kombu's channels those of the instance (`_get_errors`).
    connection_errors = (*redis.Transport.connection_errors, ResponseError)

    def _deliver(self, message: Any, queue: Any) -> None:
        # The queue that a message names itself may be wrong or forged.
        properties = message.get("properties") if isinstance(message, dict) else None
        delivery = properties.get("delivery_info") if isinstance(properties, dict) else None
        if isinstance(delivery, dict):
            delivery[CAME_FROM] = queue
        super()._deliver(message, queue)

    def _get_errors(self) -> tuple[Any, Any]:
        return self.connection_errors, self.channel_errors


class SentinelTransport(Transport):
    """Does for kombu's Sentinel transport what `Transport` does for its Redis transport."""

    default_port = redis.SentinelTransport.default_port
    Channel = _SentinelChannel


_OURS: dict[Any, Any] = {redis.Transport: Transport, redis.SentinelTransport: SentinelTransport}


class Connection(KombuConnection):
    """A kombu connection that uses our transports in place of kombu's for Redis and Sentinel."""

    def get_transport_cls(self) -> Any:
        transport = super().get_transport_cls()
        return _OURS.get(transport, transport)

    def __eqhash__(self) -> Any:
        # kombu shares one pool among equal connections; ours must not equal a plain kombu one.
        base: Any = super()
        return HashedSeq(Connection, base.__eqhash__())


class AMQP(amqp.AMQP):
    """Makes an application's connections, as Celery's `Application.amqp_cls`."""

    Connection = Connection
