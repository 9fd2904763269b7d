"""URLs for people to read, without any part of a password.

A password that is not percent-encoded makes the rest of its URL ambiguous: in
`redis://user:pa/ss@host` a parser takes `user` for the host and `pa` for its port. So only the
scheme of an invalid URL is shown. A valid URL is built anew from its parsed parts
(`RedisServer.shown`); the password is never cut out of the text.
"""

from __future__ import annotations

# Any other word before `://` may be part of a password, too.
_SCHEMES = frozenset(
    (
        *("redis", "rediss", "valkey", "valkeys", "unix", "redis+socket"),
        *("sentinel", "sentinels", "redis+sentinel", "redis-cluster", "rediss-cluster"),
        *("amqp", "amqps", "pyamqp", "rpc", "http", "https", "tcp", "sqs", "memcached"),
        *("mongodb", "mongodb+srv", "cassandra", "elasticsearch", "couchdb", "s3", "file"),
        *("db+sqlite", "db+mysql", "db+postgresql", "cache+memcached", "dynamodb", "gs"),
    )
)
_AROUND = " \t\n'\"`(<=,;"
"""Characters that may stand before a URL in a text."""


def scheme_only(url: str) -> str:
    """The URL's scheme, if it is known, and an ellipsis: `redis://…`."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://…" if found and scheme.lower() in _SCHEMES else "…"


def redacted(text: str) -> str:
    """The text up to the scheme of its first URL; the rest may be part of a password.

    A `://` without a known scheme before it may be in the middle of a password, as in
    `redis:user:a://b@host`. Then nothing of the text is shown.
    """
    before, found, _ = text.partition("://")
    if not found:
        return text
    start = max(map(before.rfind, _AROUND)) + 1
    return f"{before}://…" if before[start:].lower() in _SCHEMES else "…"
