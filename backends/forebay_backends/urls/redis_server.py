"""Parses the URL of a Redis or Valkey: one server, one behind Sentinel, or a Redis Cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from urllib.parse import parse_qs, urlsplit

from forebay_backends.urls import parsing
from forebay_backends.urls.parsing import BackendUrlError, Parts
from forebay_backends.urls.redaction import scheme_only
from forebay_backends.urls.tls import OPTIONS as TLS_OPTIONS
from forebay_backends.urls.tls import Tls

REDIS_PORT = 6379
SENTINEL_PORT = 26379


class Kind(StrEnum):
    """The way to connect to a Redis."""

    TCP = "TCP"
    SOCKET = "SOCKET"
    SENTINEL = "SENTINEL"
    CLUSTER = "CLUSTER"


_SCHEMES = {
    "redis": (Kind.TCP, False),
    "rediss": (Kind.TCP, True),
    "valkey": (Kind.TCP, False),
    "valkeys": (Kind.TCP, True),
    "unix": (Kind.SOCKET, False),
    "redis+socket": (Kind.SOCKET, False),
    "sentinel": (Kind.SENTINEL, False),
    "sentinels": (Kind.SENTINEL, True),
    "redis-cluster": (Kind.CLUSTER, False),
    "rediss-cluster": (Kind.CLUSTER, True),
}
_FORMS = {
    Kind.TCP: "redis://USER:PASSWORD@HOST:PORT/DB (rediss:// with TLS)",
    Kind.SOCKET: "unix:///PATH or unix:///PATH?db=1",
    Kind.SENTINEL: "sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DB (sentinels:// with TLS)",
    Kind.CLUSTER: "redis-cluster://USER:PASSWORD@HOST:PORT,HOST:PORT (rediss-cluster:// with TLS)",
}
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True)
class RedisServer:
    """The address of a Redis; Forebay's keys and channels there begin with `key_prefix`."""

    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    db: int = 0
    master: str = ""
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    sentinel_username: str = field(default="", repr=False)
    sentinel_password: str = field(default="", repr=False)
    tls: Tls | None = None
    key_prefix: str = ""

    @property
    def is_cluster(self) -> bool:
        return self.kind is Kind.CLUSTER

    @property
    def url(self) -> str:
        """The complete URL, with passwords; `redis_server` can parse it."""
        sentinel = (self.sentinel_username, self.sentinel_password)
        options = dict(zip(_SENTINEL_OPTIONS, sentinel, strict=True)) if any(sentinel) else {}
        options |= self.tls.options if self.tls else {}
        return self._url(parsing.userinfo(self.username, self.password), options)

    @property
    def shown(self) -> str:
        """The URL for people to read: without user, passwords and options."""
        secret = self.username or self.password
        return self._url("***@" if secret else "", {})

    def _url(self, userinfo: str, options: dict[str, str]) -> str:
        if self.kind is Kind.SOCKET:
            return f"unix://{self.path}" + (f"?db={self.db}" if self.db else "")
        secure = self.tls is not None
        scheme = next(name for name, of in _SCHEMES.items() if of == (self.kind, secure))
        where = ",".join(host_and_port(host, port) for host, port in self.hosts)
        path = {
            Kind.TCP: f"/{self.db}",
            Kind.SENTINEL: f"/{self.master}/{self.db}",
            Kind.CLUSTER: "",
        }[self.kind]
        return f"{scheme}://{userinfo}{where}{path}{parsing.query(options)}"


def host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_redis(url: str) -> bool:
    """Whether the URL's scheme is that of a Redis or Valkey."""
    return parsing.scheme_of(url) in _SCHEMES


def redis_server(url: str, tls: Tls | None = None, key_prefix: str = "") -> RedisServer:
    """The server of a URL. If the URL has TLS, `tls` supplies the options that it does not set.

    Raises BackendUrlError.
    """
    kind, secure = _SCHEMES.get(parsing.scheme_of(url), (None, False))
    if kind is None:
        raise BackendUrlError(
            f"{scheme_only(url)!r} is not a Redis or Valkey URL; expected "
            "redis://HOST:PORT/DB, rediss://…, valkey://…, unix:///PATH, "
            "sentinel://HOST:PORT,HOST:PORT/MASTER/DB or redis-cluster://HOST:PORT,HOST:PORT "
            "(a broker may be amqp://… too)"
        )
    if kind is Kind.SOCKET:
        return replace(_socket(url), key_prefix=key_prefix)
    options = (*_SENTINEL_OPTIONS * (kind is Kind.SENTINEL), *TLS_OPTIONS * secure)
    port = SENTINEL_PORT if kind is Kind.SENTINEL else REDIS_PORT
    parts = parsing.split(url, _FORMS[kind], port, options)
    try:
        layers = (tls or Tls()).with_options(parts.options) if secure else None
    except ValueError as error:
        raise BackendUrlError(f"{scheme_only(url)!r}: {error}") from None
    master, db = _place(kind, parts, url)
    return RedisServer(
        kind,
        parts.hosts,
        db=db,
        master=master,
        username=parts.username,
        password=parts.password,
        sentinel_username=parts.options.get("sentinel_username", ""),
        sentinel_password=parts.options.get("sentinel_password", ""),
        tls=layers,
        key_prefix=key_prefix,
    )


def _place(kind: Kind, parts: Parts, url: str) -> tuple[str, int]:
    """The Sentinel's name for the master, and the database's number, from the URL's path."""
    pattern = {
        Kind.TCP: r"/?(?P<db>[0-9]{0,9})",
        Kind.SENTINEL: r"/(?P<master>[A-Za-z0-9._-]+)(/(?P<db>[0-9]{0,9}))?",
        Kind.CLUSTER: r"/?(?P<db>0?)",
    }[kind]
    found = re.fullmatch(pattern, parts.path)
    if found is None or (kind is Kind.TCP and len(parts.hosts) > 1):
        raise BackendUrlError(f"{scheme_only(url)!r}: expected {_FORMS[kind]}{parsing.ENCODE}")
    return found.groupdict().get("master") or "", int(found["db"] or 0)


def _socket(url: str) -> RedisServer:
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
        (db,) = options.pop("db", None) or options.pop("virtual_host", None) or ["0"]
        unfit = parts.netloc or not parts.path or options or not db.strip("/").isdecimal()
    except ValueError:
        unfit = "no URL"
    if unfit:
        raise BackendUrlError(f"{scheme_only(url)!r}: expected {_FORMS[Kind.SOCKET]}")
    return RedisServer(Kind.SOCKET, path=parts.path, db=int(db.strip("/")))
