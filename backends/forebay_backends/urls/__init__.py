"""Parses the URLs of broker and ledger, and converts them to the forms of each library."""

from forebay_backends.urls.amqp_server import AmqpServer, amqp_server
from forebay_backends.urls.backends import Backends, backends, broker_server
from forebay_backends.urls.celery import (
    celery_settings,
    kombu_url,
    sentinel_options,
)
from forebay_backends.urls.parsing import BackendUrlError
from forebay_backends.urls.redaction import redacted, scheme_only
from forebay_backends.urls.redis_server import Kind, RedisServer, is_redis, redis_server
from forebay_backends.urls.tls import Tls
from forebay_backends.urls.verification import unverified_option

__all__ = [
    "AmqpServer",
    "BackendUrlError",
    "Backends",
    "Kind",
    "RedisServer",
    "Tls",
    "amqp_server",
    "backends",
    "broker_server",
    "celery_settings",
    "is_redis",
    "kombu_url",
    "redacted",
    "redis_server",
    "scheme_only",
    "sentinel_options",
    "unverified_option",
]
