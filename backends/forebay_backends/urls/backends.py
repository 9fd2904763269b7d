"""The pair of a ledger and a broker."""

from __future__ import annotations

from dataclasses import dataclass

from forebay_backends.urls.amqp_server import AmqpServer, amqp_server, is_amqp
from forebay_backends.urls.parsing import BackendUrlError
from forebay_backends.urls.redis_server import RedisServer, redis_server
from forebay_backends.urls.tls import Tls

NO_CLUSTER_BROKER = (
    "a Redis Cluster can't be the broker, since Celery has no transport for it; set broker_url to "
    "RabbitMQ (amqp://…) or to another Redis"
)


@dataclass(frozen=True)
class Backends:
    """The servers of ledger and broker, which may be the same server."""

    ledger: RedisServer
    broker: RedisServer | AmqpServer

    @property
    def ledger_url(self) -> str:
        """The ledger's URL in full, with its passwords."""
        return self.ledger.url

    @property
    def broker_url(self) -> str:
        """The broker's URL in full, with its passwords."""
        return self.broker.url

    @property
    def broker_is_ledger(self) -> bool:
        """Whether both are one server, so that a call's record and message are written together."""
        return self.broker == self.ledger

    @property
    def broker_is_redis(self) -> bool:
        """Whether the broker is a Redis or Valkey, the ledger's or another."""
        return isinstance(self.broker, RedisServer)


def backends(
    ledger_url: str, broker_url: str | None, tls: Tls | None = None, key_prefix: str = ""
) -> Backends:
    """The servers of both URLs; without `broker_url`, the ledger's server is the broker.

    Raises BackendUrlError.
    """
    ledger = redis_server(ledger_url, tls, key_prefix)
    broker = broker_server(broker_url, tls, key_prefix) if broker_url else ledger
    if isinstance(broker, RedisServer) and broker.is_cluster:
        raise BackendUrlError(NO_CLUSTER_BROKER)
    return Backends(ledger, broker)


def broker_server(
    url: str, tls: Tls | None = None, key_prefix: str = ""
) -> RedisServer | AmqpServer:
    """The server of a broker's URL; raises BackendUrlError."""
    if is_amqp(url):
        return amqp_server(url, tls)
    server = redis_server(url, tls, key_prefix)
    if server.is_cluster:
        raise BackendUrlError(NO_CLUSTER_BROKER)
    return server
