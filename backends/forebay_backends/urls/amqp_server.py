"""A RabbitMQ by its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forebay_backends.urls import parsing
from forebay_backends.urls.amqp_options import OPTIONS, AmqpOptions
from forebay_backends.urls.parsing import BackendUrlError
from forebay_backends.urls.redaction import scheme_only
from forebay_backends.urls.redis_server import host_and_port
from forebay_backends.urls.tls import OPTIONS as TLS_OPTIONS
from forebay_backends.urls.tls import Tls

_PORTS = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}
_WITH_TLS = "amqps"
_FORM = "amqp://USER:PASSWORD@HOST:PORT/VHOST (amqps:// with TLS)"


@dataclass(frozen=True)
class AmqpNode:
    """One node; `virtual_host` is as in the URL, with its leading `/`."""

    scheme: str
    host: str
    port: int
    virtual_host: str
    username: str = field(repr=False)
    password: str = field(repr=False)

    def url(self, userinfo: str) -> str:
        return f"{self.scheme}://{userinfo}{host_and_port(self.host, self.port)}{self.virtual_host}"


@dataclass(frozen=True)
class AmqpServer:
    """A RabbitMQ: one node, or several that are tried in turn, with `;` between their URLs.

    Options apply to all nodes, whichever URL has them. All nodes use TLS, or none does.
    """

    nodes: tuple[AmqpNode, ...]
    tls: Tls | None = None
    options: AmqpOptions = field(default_factory=AmqpOptions)

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each node."""
        return tuple((node.host, node.port) for node in self.nodes)

    @property
    def kombu_url(self) -> str:
        """The URL in kombu's and Celery's form; TLS and options are passed separately."""
        return ";".join(
            node.url(parsing.userinfo(node.username, node.password)) for node in self.nodes
        )

    @property
    def url(self) -> str:
        """The complete URL, with passwords; `amqp_server` can parse it."""
        tls = self.tls.options if self.tls else {}
        options = parsing.query({**self.options.options, **tls})
        return ";".join(f"{url}{options}" for url in self.kombu_url.split(";"))

    @property
    def shown(self) -> str:
        """The URL for people to read: without user, passwords and options."""
        return ";".join(node.url("***@" if node.username else "") for node in self.nodes)

    def for_kombu(self) -> dict[str, Any]:
        """Arguments of kombu's `Connection` besides the URL, without the heartbeat."""
        return {"ssl": self.ssl, **self.options.for_kombu()}

    @property
    def ssl(self) -> dict[str, object] | bool:
        """Celery's `broker_use_ssl`; all certificates must be for the first node's host name."""
        return self.tls.for_amqp(self.nodes[0].host) if self.tls else False


def is_amqp(url: str) -> bool:
    """Whether the URL has one of RabbitMQ's schemes."""
    return parsing.scheme_of(url) in _PORTS


def amqp_server(url: str, tls: Tls | None = None) -> AmqpServer:
    """The server of a URL; raises BackendUrlError."""
    nodes: list[AmqpNode] = []
    given: dict[str, str] = {}
    for each in _several(url):
        node, options = _node(each)
        nodes.append(node)
        given |= options
    secure, *mixed = {node.scheme == _WITH_TLS for node in nodes}
    if mixed:
        raise BackendUrlError(f"{scheme_only(url)!r}: expected amqps:// for all nodes, or for none")
    try:
        layers = (tls or Tls()).with_options(given) if secure else None
        return AmqpServer(tuple(nodes), layers, AmqpOptions.parse(given))
    except ValueError as error:
        raise BackendUrlError(f"{scheme_only(url)!r}: {error}") from None


def _node(url: str) -> tuple[AmqpNode, dict[str, str]]:
    scheme = parsing.scheme_of(url)
    if scheme not in _PORTS:
        raise BackendUrlError(f"{scheme_only(url)!r}: expected {_FORM}{parsing.ENCODE}")
    known = (*OPTIONS, *TLS_OPTIONS) if scheme == _WITH_TLS else OPTIONS
    parts = parsing.split(url, _FORM, _PORTS[scheme], known)
    if len(parts.hosts) > 1 or ";" in parts.path:
        raise BackendUrlError(f"{scheme_only(url)!r}: expected {_FORM}, `;` between URLs")
    host, port = parts.hosts[0]
    node = AmqpNode(scheme, host, port, parts.path, parts.username, parts.password)
    return node, parts.options


def _several(url: str) -> list[str]:
    """The nodes' URLs, split at `;` as by kombu; the whole URL if a part has no AMQP scheme."""
    urls = url.split(";")
    return urls if all(parsing.scheme_of(each) in _PORTS for each in urls) else [url]
