"""kombu's Redis transport, which a server that dies or is demoted does not end, and which
keeps no books of Forebay's own messages.

As it comes, a worker ends ("Unrecoverable error") where its server turns into a replica
or lacks replicas while the worker waits for messages: it takes that answer for a fault
of its own. It ends, too, where the server dies between a message and its acknowledgement:
giving the message back then fails in a way that nothing expects. Here the one is a
connection that broke, to be made again, and the other is let go: what was lost with a
server is the ledger's to send again.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu import transport as transports
from kombu.transport import redis, virtual
from redis.exceptions import RedisError, ResponseError

from forebay_backends.broker.task_messages import ORIGIN

_log = logging.getLogger(__name__)


class _QoS(redis.QoS):
    def append(self, message: Any, delivery_tag: str) -> None:
        if _is_forebays(message):
            virtual.QoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        if _is_forebays(self._taken(delivery_tag)):
            virtual.QoS.ack(self, delivery_tag)
        else:
            super().ack(delivery_tag)

    def restore_by_tag(self, tag: str, client: Any = None, leftmost: bool = False) -> None:
        message = self._taken(tag)
        if not _is_forebays(message):
            super().restore_by_tag(tag, client, leftmost)
            return
        channel: Any = self.channel
        to = message.delivery_info
        with channel.conn_or_acquire(client) as client:
            channel._do_restore_message(
                message._raw, to["exchange"], to["routing_key"], client, leftmost
            )

    def _taken(self, tag: str) -> Any:
        taken: Any = self._delivered
        return taken.get(tag)

    def restore_unacked_once(self, stderr: Any = None) -> None:
        try:
            super().restore_unacked_once(stderr)
        except (AttributeError, OSError, RedisError) as error:
            # AttributeError: kombu's connection has forgotten its address by now.
            _log.warning("messages could not be given back, and will be sent again: %s", error)


def _is_forebays(message: Any) -> bool:
    return message is not None and message.headers.get("origin") == ORIGIN


class _Channel(redis.Channel):
    QoS = _QoS


class Transport(redis.Transport):
    """The transport of `redis://` and its kin; `install` it."""

    Channel = _Channel

    # Celery asks the class, kombu's channels the object.
    connection_errors = (*redis.Transport.connection_errors, ResponseError)

    def _get_errors(self) -> tuple[Any, Any]:
        return self.connection_errors, self.channel_errors


def install() -> None:
    """Has this process's Celery applications use the transport."""
    known: Any = transports
    for scheme in ("redis", "rediss", "valkey", "valkeys"):
        if scheme in known.TRANSPORT_ALIASES:
            known.TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
            known._transport_cache.pop(scheme, None)  # where a connection was made before
