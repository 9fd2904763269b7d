"""The URLs of broker and ledger, in the forms that kombu and redis-py take."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit, urlunsplit

_REDIS_SCHEMES = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
    "unix": "unix",
    "redis+socket": "unix",
}
_AMQP_SCHEMES = frozenset({"amqp", "amqps", "pyamqp"})

HIGHEST_PRIORITY = 9
"""Priorities are 0 to 9; on RabbitMQ it is the queues' `x-max-priority`."""


class BackendUrlError(ValueError):
    """A URL that is not the URL of a supported backend."""


@dataclass(frozen=True)
class Backends:
    """The broker's URL in kombu's form, the ledger's in redis-py's."""

    ledger_url: str
    broker_url: str

    @property
    def broker_is_ledger(self) -> bool:
        """Whether one server is both: record and message can be written together then."""
        return self.broker_url == kombu_url(self.ledger_url)

    @property
    def broker_is_redis(self) -> bool:
        """Whether the broker is a Redis or Valkey, be it the ledger's server or another."""
        return urlsplit(self.broker_url).scheme in _REDIS_SCHEMES


def backends(ledger_url: str, broker_url: str | None) -> Backends:
    """Checks the two URLs; without a broker's, the ledger's server is the broker.

    Raises BackendUrlError.
    """
    ledger = redis_url(ledger_url)
    if broker_url is None:
        return Backends(ledger, kombu_url(ledger))
    if urlsplit(broker_url).scheme in _AMQP_SCHEMES:
        return Backends(ledger, broker_url)
    return Backends(ledger, kombu_url(redis_url(broker_url)))


def redis_url(url: str) -> str:
    """The URL in redis-py's form; raises BackendUrlError where it is not one of Redis or Valkey."""
    parts = urlsplit(url)
    scheme = _REDIS_SCHEMES.get(parts.scheme)
    if scheme is None:
        raise BackendUrlError(
            f"{redacted(url)!r} is not a Redis or Valkey URL; expected "
            "redis://HOST:PORT/DB, rediss://…, valkey://… or unix:///PATH "
            "(a broker may be amqp://… too)"
        )
    _check_redis_parts(url)
    if scheme == "unix":
        query = f"?db={_socket_db(parts.query)}" if _socket_db(parts.query) != "0" else ""
        return f"unix://{parts.path}{query}"
    path = parts.path if parts.path not in ("", "/") else "/0"
    return urlunsplit((scheme, parts.netloc, path, parts.query, ""))


def _check_redis_parts(url: str) -> None:
    """Raises BackendUrlError for URLs that the libraries would misread silently."""
    parts = urlsplit(url)
    try:
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise BackendUrlError(f"{redacted(url)!r}: {error}") from error
    if _REDIS_SCHEMES[parts.scheme] == "unix":
        if parts.netloc or not parts.path or "password" in parse_qs(parts.query):
            raise BackendUrlError(f"{redacted(url)!r}: expected unix:///PATH, or unix:///PATH?db=1")
    elif not host or not re.fullmatch(r"/?|/\d+", parts.path) or parts.fragment:
        raise BackendUrlError(
            f"{redacted(url)!r}: expected {parts.scheme}://HOST:PORT/DB, with /, # and ? of a "
            "password written as %2F, %23 and %3F"
        )


def kombu_url(url: str) -> str:
    """Converts a URL in redis-py's form to the form of kombu and Celery."""
    parts = urlsplit(url)
    if parts.scheme != "unix":
        return url
    db = _socket_db(parts.query)
    return f"redis+socket://{parts.path}" + (f"?virtual_host={db}" if db != "0" else "")


def redacted(text: str) -> str:
    """The text with the passwords of its URLs replaced by ***."""
    text = re.sub(r"(://[^:@/\s]*:)\S*@", r"\1***@", text)
    return re.sub(r"(?i)(password=)[^&\s'\"]*", r"\1***", text)


def _socket_db(query: str) -> str:
    options = parse_qs(query)
    return (options.get("db") or options.get("virtual_host") or ["0"])[0].strip("/")


def celery_settings(backends: Backends) -> dict[str, object]:
    """The Celery settings of the broker that gateway and worker must have in common.

    Content is JSON. Celery stores no results, since Forebay doesn't read them. RabbitMQ's queues
    are declared with priorities 0 to 9, and publishes are confirmed.
    """
    redis = backends.broker_is_redis
    return {
        "broker_url": backends.broker_url,
        "broker_transport_options": {} if redis else {"confirm_publish": True},
        "broker_connection_retry_on_startup": True,
        "accept_content": ["json"],
        "task_serializer": "json",
        "task_ignore_result": True,
        "task_queue_max_priority": None if redis else HIGHEST_PRIORITY,
    }
