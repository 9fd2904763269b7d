"""Requests of HTTP as they are on the wire, also those that no client would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from tests.contract.fronts.site import SERVICE, Site
from tests.http_requests import Answer, ask

JSON_TYPE = "application/json"
_TIMEOUT_S = 20.0


def request(
    web: Site, method: str, target: str, body: bytes | None = None, **headers: str
) -> Answer:
    """Names of headers have underscores for hyphens; `host` replaces the usual one."""
    return ask(web.address, method, target, body, headers, _TIMEOUT_S)


def post(web: Site, name: str, body: bytes = b"{}", **headers: str) -> Answer:
    headers.setdefault("content_type", JSON_TYPE)
    return request(web, "POST", f"/{SERVICE}/{name}", body, **headers)


@contextmanager
def connected(web: Site) -> Iterator[socket.socket]:
    host, _, port = web.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_TIMEOUT_S) as sock:
        yield sock


def head(name: str, *lines: str, length: int | None = None) -> bytes:
    """The head of a POST."""
    more = () if length is None else (f"content-length: {length}",)
    start = f"POST /{SERVICE}/{name} HTTP/1.1", "host: localhost", f"content-type: {JSON_TYPE}"
    return "".join(f"{line}\r\n" for line in (*start, *lines, *more, "")).encode()


def rest(sock: socket.socket) -> bytes:
    """What comes until the server closes the connection, by whatever means."""
    received = b""
    try:
        while data := sock.recv(1 << 16):
            received += data
    except ConnectionError:
        pass
    return received
