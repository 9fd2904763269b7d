"""Decides which HTTP requests are served, before their bodies are read. Pure except `guarded`.

Any web page can make a browser send requests to any address. These rules stop such requests:

- The `Host` header must name this server. With DNS rebinding, where a page's own name
  resolves to a loopback address, the header has the page's name.
- A request from another origin is refused unless `web_origins` lists that origin.
- Bodies are JSON or protobuf, which no HTML form can send: for a page of another origin, the
  browser sends a CORS preflight first, which the rules above refuse.
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

    IP addresses and `localhost` are accepted without `hosts`: DNS rebinding can't use them.
    """

    hosts: frozenset[str] = frozenset()
    origins: tuple[str, ...] = ()
    hosts_setting: str = "web_hosts"
    origins_setting: str = "web_origins"
    """The names of the settings that a refusal tells the operator to change."""


def refusal(headers: Mapping[bytes, bytes], policy: Policy) -> str | None:
    """Why a request with these headers is refused; None if it is served."""
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
    """Wraps the application to refuse requests that the policy does not allow."""

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
