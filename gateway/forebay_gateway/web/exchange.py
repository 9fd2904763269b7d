"""One HTTP request and its response, over ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from functools import cached_property
from typing import Any
from urllib.parse import quote

from forebay.errors import TooLarge

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

AUTH_CONTEXT = "forebay.auth_context"
"""The extension of a scope with gRPC's properties of a secure connection (`connection.py`)."""
ON_LEFT = "forebay.on_left"
"""The extension that takes a callback for when the caller leaves, or None to remove it.

Where a server does not have it, a task waits for ASGI's `http.disconnect`.
"""


_SMALL_BODY_BYTES = 64 << 10


class Exchange:
    """Reads the body only when asked to; after that it notices when the caller leaves."""

    __slots__ = (
        "__dict__",
        "_body",
        "_chunks",
        "_on_left",
        "_receive",
        "_send",
        "_size",
        "_watch",
        "has_left",
        "has_started",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.has_left = False
        """Whether the caller has closed the connection."""
        self.has_started = False
        """Whether the response's head was sent."""
        self._receive = receive
        self._send = send
        self._chunks: list[bytes] = []
        self._size = 0
        self._body: bytes | None = None
        self._on_left: Callable[[], None] | None = None
        self._watch: asyncio.Task[None] | None = None

    # The request

    @property
    def method(self) -> str:
        """The HTTP method, such as `POST`."""
        method: str = self.scope["method"]
        return method

    @cached_property
    def headers(self) -> Mapping[bytes, bytes]:
        """The headers by their names in lower case; the last value of each name."""
        return dict(self.scope["headers"])

    @cached_property
    def content_type(self) -> str:
        """The content type without parameters, in lower case; empty if there is none."""
        value = self.headers.get(b"content-type", b"").partition(b";")[0]
        return value.strip().lower().decode("latin-1")

    def peer(self) -> str:
        """The caller's address, as gRPC writes it."""
        client = self.scope.get("client")
        if not client:
            return "unix:"
        host, port = client
        if ":" not in host:
            return f"ipv4:{host}:{port}"
        return f"ipv6:{quote(f'[{host}]', safe=':')}:{port}"

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """Like `Context.auth_context`."""
        found: Mapping[str, Iterable[bytes]] = (self.scope.get("extensions") or {}).get(
            AUTH_CONTEXT, {}
        )
        return found

    @property
    def body_now(self) -> bytes | None:
        """The body, if it was read."""
        return self._body

    async def read_small_body(self) -> None:
        """Reads the body if it is no larger than what ASGI servers hold before anyone reads.

        So its caller is noticed when it leaves, whenever the handler reads.
        """
        length = self._length
        if length is not None and length <= _SMALL_BODY_BYTES:
            await self.body(_SMALL_BODY_BYTES)

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises TooLarge for one over the limit, CancelledError if it breaks off.

        May be called again where it was cancelled.
        """
        if self._body is None:
            if self._length is not None and self._length > limit:
                raise _too_large(limit)
            await self._read_body(limit)
        if self._body is None or len(self._body) > limit:
            raise _too_large(limit)
        return self._body

    async def _read_body(self, limit: int) -> None:
        more = True
        while more:
            message = await self._receive()
            if message["type"] != "http.request":
                self._left()
                raise asyncio.CancelledError
            chunk = message.get("body", b"")
            self._size += len(chunk)
            if self._size > limit:
                self._chunks.clear()
                raise _too_large(limit)
            self._chunks.append(chunk)
            more = message.get("more_body", False)
        self._body = b"".join(self._chunks)
        self._chunks.clear()
        self._start_watch()

    @cached_property
    def _length(self) -> int | None:
        """None where the caller does not say, as it may with `transfer-encoding`, and HTTP/2."""
        value = self.headers.get(b"content-length", b"")
        if value.isdigit():
            return int(value)
        is_none = self.scope.get("http_version", "")[:1] == "1" or self.method == "GET"
        return 0 if is_none and b"transfer-encoding" not in self.headers else None

    # The connection

    def on_left(self, call: Callable[[], None]) -> None:
        """Calls `call` when the caller leaves, until `close`.

        A server without `ON_LEFT` reports this by `receive`, so only after the body was read.
        """
        self._on_left = call
        if self._tell is not None or self._body is not None:
            self._start_watch()

    def close(self) -> None:
        """Ends the exchange: from now on a caller who leaves is not reported."""
        self._on_left = None
        if self._tell is not None:
            self._tell(None)
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _start_watch(self) -> None:
        if self._on_left is None or self._watch is not None:
            return
        if self._tell is not None:
            self._tell(self._left)
        else:
            self._watch = asyncio.get_running_loop().create_task(self._watch_connection())

    @cached_property
    def _tell(self) -> Callable[[Callable[[], None] | None], None] | None:
        """The extension `ON_LEFT` of the server; None if it has none."""
        extensions: Mapping[str, Any] = self.scope.get("extensions") or {}
        return extensions.get(ON_LEFT)

    async def _watch_connection(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left()

    def _left(self) -> None:
        self.has_left = True
        if self._on_left is not None:
            self._on_left()

    # The response

    async def start(self, status: int, headers: Headers) -> None:
        """Sends the head of the response."""
        self.has_started = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def send(self, data: bytes, *, more: bool) -> None:
        """Sends a part of the body; waits while the caller reads too slowly."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def respond(self, status: int, headers: Headers, body: bytes = b"") -> None:
        """Sends a whole response."""
        await self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        await self.send(body, more=False)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the request is over this server's limit of {limit} bytes")
