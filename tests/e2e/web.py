"""A gateway's web front, and requests to it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.conftest import Gateway, Site
from tests.http_requests import Answer, ask
from tests.unit.gateway.web.sse.event_source import Event, EventSource

_TIMEOUT_S = 60.0
_EVENTS = {"accept": "text/event-stream"}


@dataclass(frozen=True)
class Web:
    """The web front of one gateway."""

    gateway: Gateway
    address: str

    def request(self, method: str, target: str, body: Any = None, **headers: str) -> Answer:
        """A request with a body in JSON; names of headers have underscores for hyphens."""
        if body is not None:
            headers.setdefault("content_type", "application/json")
        data = None if body is None else json.dumps(body)
        return ask(self.address, method, target, data, headers, _TIMEOUT_S)

    @contextmanager
    def events(self, target: str, last_id: str = "") -> Iterator[Iterator[Event]]:
        """The events of a connection, until it ends or breaks."""
        connection = http.client.HTTPConnection(self.address, timeout=_TIMEOUT_S)
        headers = {**_EVENTS, **({"last-event-id": last_id} if last_id else {})}
        try:
            connection.request("GET", target, headers=headers)
            yield _read(connection.getresponse())
        finally:
            connection.close()


def _read(response: http.client.HTTPResponse) -> Iterator[Event]:
    source, given = EventSource(), 0
    while True:
        try:
            line = response.readline()
        except (http.client.IncompleteRead, ConnectionError):
            return
        if not line:
            return
        source.feed(line)
        yield from source.events[given:]
        given = len(source.events)


def web_gateway(site: Site, listen: str = "127.0.0.1:0") -> Web:
    """Starts another gateway with a web front."""
    gateway = site.gateway("127.0.0.1:0", "--web-listen", listen)
    return Web(gateway, gateway.process.wait_for(r"serves browsers on http://(\S+)")[1])
