"""Requests of HTTP as they are on the wire, also those that no client would send."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.contract.fronts.site import SERVICE, Site

JSON_TYPE = "application/json"
_TIMEOUT_S = 20.0


@dataclass(frozen=True)
class Answer:
    """Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request(
    web: Site, method: str, target: str, body: bytes | None = None, **headers: str
) -> Answer:
    """Names of headers have underscores for hyphens; `host` replaces the usual one."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection = http.client.HTTPConnection(web.address, timeout=_TIMEOUT_S)
    try:
        connection.request(method, target, body, named)
        response = connection.getresponse()
        got = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, got, response.read())
    finally:
        connection.close()


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
