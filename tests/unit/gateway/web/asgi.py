"""Calls an ASGI application without a server; a handler to be called."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from forebay_gateway.fronts.limits import front_limits
from forebay_gateway.rpc.context import Context, Handler

LIMITS = front_limits(max_message_bytes=1 << 20, max_connections=10, max_calls=10)

App = Callable[[Any, Any, Any], Awaitable[None]]


@dataclass
class Response:
    """A response, as far as it has come."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    is_complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def call(
    app: App,
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
    *,
    leave: asyncio.Event | None = None,
    root_path: str = "",
) -> Response:
    """The whole response; `leave` is when the caller closes the connection."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": root_path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        "client": ("127.0.0.1", 5000),
    }
    response, bodies = Response(), [body]

    async def receive() -> Any:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            response.status = message["status"]
            response.headers = {k.decode(): v.decode() for k, v in message["headers"]}
        else:
            response.parts.append(message["body"])
            response.is_complete = not message["more_body"]

    await app(scope, receive, send)
    return response


@dataclass
class Recorder:
    """A handler that records requests and metadata, and responds what it is told to."""

    respond: Callable[[Context], Awaitable[bytes | None]]
    requests: list[bytes] = field(default_factory=list)
    metadata: dict[str, str | bytes] = field(default_factory=dict)
    timeout_s: float | None = None

    def handler(self, *, streams: bool) -> Handler:
        async def serve(context: Context) -> bytes | None:
            self.metadata = dict(context.invocation_metadata() or ())
            self.timeout_s = context.time_remaining()
            while isinstance(request := await context.read(), bytes):
                self.requests.append(request)
            return await self.respond(context)

        return Handler(serve, streams)
