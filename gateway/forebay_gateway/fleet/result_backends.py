"""Whether an application keeps its results where a gateway reads them. Pure.

Workers report their `result_backend` without its password. A server may have several names (in a
container, for example), so a difference between host names alone proves nothing.
"""

from __future__ import annotations

from enum import Enum, auto
from urllib.parse import urlsplit

from forebay_backends.urls import RedisServer, is_redis, redacted, redis_server
from forebay_backends.urls.parsing import BackendUrlError

DISABLED = "disabled"
"""The report of a worker that stores no results."""

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1", ""})


class Match(Enum):
    """How the workers' result backend compares with the gateway's."""

    SAME = auto()
    """The same backend, or no known difference."""
    UNSURE = auto()
    """The same kind on another host, which may be another name of the same server."""
    OTHER = auto()
    """Another backend: results never arrive at the gateway."""


def compared(theirs: str, ours: str) -> Match:
    """Compares the workers' `result_backend` with `FOREBAY_RESULT_URL`."""
    their_kind, our_kind = _kind(theirs), _kind(ours)
    if their_kind == DISABLED:
        return Match.OTHER
    if not their_kind or not our_kind:
        return Match.SAME  # the name of a class, which may be of any kind
    if their_kind != our_kind:
        return Match.OTHER
    if "://" not in theirs or "://" not in ours:
        return Match.SAME  # a kind without an address, which is in other settings
    try:
        if is_redis(ours):
            return _redis(redis_server(theirs), redis_server(ours))
        return _other_kind(theirs, ours)
    except (BackendUrlError, ValueError):
        return Match.SAME  # a URL that can't be parsed, such as Celery's for Sentinels


def shown_backend(url: str) -> str:
    """The backend's URL for messages, without user and password."""
    try:
        return redis_server(url).shown if is_redis(url) else redacted(url)
    except BackendUrlError:
        return redacted(url)


def _kind(url: str) -> str:
    """The backend's kind, such as rpc, redis or db; empty for the name of a class."""
    if is_redis(url) or url == "redis":
        return "redis"
    scheme, found, _ = url.partition("://")
    if not found and (":" in url or "." in url):
        return ""
    return scheme.partition("+")[0].lower()


def _redis(theirs: RedisServer, ours: RedisServer) -> Match:
    if theirs.db != ours.db:
        return Match.OTHER
    if theirs.kind is not ours.kind or theirs.path != ours.path or theirs.master != ours.master:
        return Match.UNSURE
    their_hosts, our_hosts = (
        {(_host(host), port) for host, port in s.hosts} for s in (theirs, ours)
    )
    if their_hosts & our_hosts or not our_hosts:
        return Match.SAME
    same_host = {host for host, _ in their_hosts} & {host for host, _ in our_hosts}
    return Match.OTHER if same_host else Match.UNSURE


def _other_kind(theirs: str, ours: str) -> Match:
    their_url, our_url = urlsplit(theirs), urlsplit(ours)
    if "@" in their_url.path + our_url.path:
        return Match.SAME  # a password that is not encoded: the parts can't be told apart
    if their_url.path.strip("/") != our_url.path.strip("/"):
        return Match.OTHER if our_url.netloc else Match.UNSURE
    is_same = _host(their_url.hostname or "") == _host(our_url.hostname or "")
    return Match.SAME if is_same else Match.UNSURE


def _host(name: str) -> str:
    return "localhost" if name.lower() in _LOOPBACK else name.lower()
