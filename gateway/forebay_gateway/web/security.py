"""Which requests of HTTP get in at all: before a byte of their body is read. Pure, but `guarded`.

A browser can be made to send requests to any address by a page of anyone. What stops it here:

- The `Host` header must name this server. A page whose name leads to a loopback address (DNS
  rebinding) has its own name there.
- A request of another origin needs that origin in `web_origins`.
- Bodies are JSON or protobuf, which no form can send: a page of another origin has to ask before,
  and gets no.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from forebay_gateway.web.exchange import App, Exchange, Receive, Scope, Send

ANY = "*"
_LOCALHOST = "localhost"


@dataclass(frozen=True)
class Policy:
    """`hosts` are names, without ports; `origins` such as `https://app.example`; `*` is any.

    Addresses and `localhost` need no mention in `hosts`: nobody else's name leads to them.
    """

    hosts: frozenset[str] = frozenset()
    origins: tuple[str, ...] = ()
    hosts_setting: str = "web_hosts"
    origins_setting: str = "web_origins"
    """What messages name, to be changed by whoever runs the gateway."""


def refusal(headers: Mapping[bytes, bytes], policy: Policy) -> str | None:
    """Why a request with these headers is refused; None: it is not."""
    host = headers.get(b"host", b"").decode("latin-1").lower()
    if not is_known_host(host, policy.hosts):
        return f"the Host header is {host[:100]!r}, which is not in {policy.hosts_setting}"
    origin = headers.get(b"origin", b"").decode("latin-1").lower()
    is_foreign = headers.get(b"sec-fetch-site") == b"cross-site"
    if origin:
        is_foreign = origin.partition("://")[2] != host
    if is_foreign and not _is_listed(origin, policy.origins):
        return f"the origin is {origin[:100]!r}, which is not in {policy.origins_setting}"
    return None


@lru_cache(1024)
def is_known_host(host: str, names: frozenset[str]) -> bool:
    """Whether the value of a Host header, in lower case, names this server."""
    name = _without_port(host)
    if not name:
        return False
    if ANY in names or name in names or name == _LOCALHOST or name.endswith("." + _LOCALHOST):
        return True
    try:
        ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def guarded(app: App, policy: Policy) -> App:
    """The application for those requests alone that the policy lets in."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            problem = refusal(dict(scope["headers"]), policy)
            if problem is not None:
                headers = [(b"content-type", b"text/plain; charset=utf-8")]
                await Exchange(scope, receive, send).respond(403, headers, f"{problem}\n".encode())
                return
        await app(scope, receive, send)

    return serve


def _is_listed(origin: str, origins: Iterable[str]) -> bool:
    return bool(origin) and (ANY in origins or origin in origins)


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]" if "]" in host else ""
    return host.partition(":")[0]
