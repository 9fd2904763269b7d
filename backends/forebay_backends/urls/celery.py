"""The URLs and options of brokers in the form that kombu and Celery take."""

from __future__ import annotations

from typing import Any

from redis.asyncio.retry import Retry as AsyncioRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from forebay.routes import HIGHEST_PRIORITY
from forebay_backends.urls import parsing
from forebay_backends.urls.amqp_server import AmqpServer
from forebay_backends.urls.backends import Backends
from forebay_backends.urls.redis_server import Kind, RedisServer, host_and_port

SENTINEL_TIMEOUT_S = 1.0
"""How long one Sentinel may take to connect and to answer before the next is tried."""


def kombu_url(server: RedisServer | AmqpServer) -> str:
    """The URL in kombu's and Celery's form; TLS and the master's name are passed separately."""
    if isinstance(server, AmqpServer):
        return server.kombu_url
    if server.kind is Kind.SOCKET:
        return f"redis+socket://{server.path}" + (f"?virtual_host={server.db}" * (server.db > 0))
    scheme = "sentinel" if server.kind is Kind.SENTINEL else "rediss" if server.tls else "redis"
    userinfo = parsing.userinfo(server.username, server.password)
    return ";".join(
        f"{scheme}://{userinfo}{host_and_port(host, port)}/{server.db}"
        for host, port in server.hosts
    )


def sentinel_options(
    server: RedisServer, retry: type[Retry] | type[AsyncioRetry] = Retry
) -> dict[str, Any]:
    """redis-py's options for connections to the Sentinels themselves.

    A Sentinel that does not answer is skipped at once; redis-py would try it for 10 s.
    """
    tls = {"ssl": True, **server.tls.for_redis()} if server.tls else {}
    return {
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        "retry": retry(NoBackoff(), 0),
        "username": server.sentinel_username or None,
        "password": server.sentinel_password or None,
        **tls,
    }


def celery_settings(backends: Backends) -> dict[str, object]:
    """Celery's settings of the broker, which must be the same in gateway and worker.

    Messages are JSON only. No results are kept, since nothing asks Celery for them. Queues on
    RabbitMQ are declared with the priorities 0 to 9. Publishes are confirmed.
    """
    broker = backends.broker
    redis = isinstance(broker, RedisServer)
    return {
        "broker_url": kombu_url(broker),
        "broker_use_ssl": _ssl(broker),
        "broker_transport_options": _transport_options(broker),
        "broker_connection_retry_on_startup": True,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_queue_max_priority": None if redis else HIGHEST_PRIORITY,
        **(broker.options.for_celery() if isinstance(broker, AmqpServer) else {}),
    }


def _ssl(broker: RedisServer | AmqpServer) -> dict[str, Any] | bool:
    if isinstance(broker, AmqpServer):
        return broker.ssl
    return broker.tls.for_redis() if broker.tls else False


def _transport_options(broker: RedisServer | AmqpServer) -> dict[str, Any]:
    if isinstance(broker, AmqpServer):
        return {"confirm_publish": True}
    options: dict[str, Any] = {}
    if broker.key_prefix:
        options["global_keyprefix"] = broker.key_prefix
    if broker.kind is Kind.SENTINEL:
        options |= {"master_name": broker.master, "sentinel_kwargs": sentinel_options(broker)}
    return options
