"""The bytes of server-sent events. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re

CONTENT_TYPE = "text/event-stream"
HEARTBEAT = b":\n\n"
"""A comment: browsers ignore it, and proxies see that the connection is in use."""

_LINE_END = re.compile(rb"\r\n|\r|\n")


def event(data: bytes, *, name: str = "", event_id: str = "") -> bytes:
    """An event; without a name, `EventSource` calls `onmessage`.

    Without an id, the stream keeps the id of the previous event.
    """
    lines = [
        *([b"event: " + name.encode()] if name else []),
        *(last_id(event_id) if event_id else []),
        *(b"data: " + line for line in _LINE_END.split(data)),
    ]
    return b"\n".join(lines) + b"\n\n"


def opening(retry_ms: int, event_id: str = "") -> bytes:
    """The start of a stream: the reconnection delay, and the id until an event sets another."""
    lines = [b"retry: %d" % retry_ms, *(last_id(event_id) if event_id else [])]
    return b"\n".join(lines) + b"\n\n"


def last_id(event_id: str) -> list[bytes]:
    """The line that sets the stream's id."""
    return [b"id: " + event_id.encode()]


def accepts_events(accept: bytes) -> bool:
    """Whether an `Accept` header names `text/event-stream`; a wildcard is not enough."""
    for one in accept.split(b","):
        name, _, parameters = one.partition(b";")
        if name.strip().lower() == CONTENT_TYPE.encode():
            return parameters.replace(b" ", b"").rstrip(b".0") != b"q="
    return False
