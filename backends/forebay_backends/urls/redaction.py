"""URLs for people to read, without any part of a password.

A password that is not percent-encoded makes the rest of its URL ambiguous: in
`redis://user:pa/ss@host` a parser takes `user` for the host, `pa` for its port. So a URL that is
refused is shown as its scheme alone, and one that is taken is shown from what it was parsed into
(`RedisServer.shown`), never by cutting the password out of the text.
"""

from __future__ import annotations

# Any other word before `://` may be of a password, too.
_SCHEMES = frozenset(
    (
        *("redis", "rediss", "valkey", "valkeys", "unix", "redis+socket"),
        *("sentinel", "sentinels", "redis+sentinel", "redis-cluster", "rediss-cluster"),
        *("amqp", "amqps", "pyamqp", "rpc", "http", "https", "tcp", "sqs", "memcached"),
    )
)


def scheme_only(url: str) -> str:
    """The URL's scheme, if that is a known one, and three dots: `redis://…`."""
    scheme, found, _ = url.partition("://")
    return f"{scheme}://…" if found and scheme.lower() in _SCHEMES else "…"


def redacted(text: str) -> str:
    """The text up to its first URL's scheme: what follows a scheme may be of a password."""
    before, found, _ = text.partition("://")
    return f"{before}://…" if found else text
