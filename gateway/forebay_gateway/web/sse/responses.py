"""Responses as server-sent events.

    retry: 1000

    event: start
    data: {"metadata": {"forebay-call-id": ["a"], "forebay-attached": ["new"]}}

    data: {"progress": {"fraction": 0.5}}

    id: 0
    data: {"header": {"bitLength": "108"}}

    id: end
    event: end
    data: {"metadata": {"forebay-attempts": ["1"]}}

For a failed call, an `error` event with its `google.rpc.Status` comes before `end`. If a retry
may help (the status has a RetryInfo, as when the gateway shuts down), there is a `retry` event with
the status, and no `end`: the browser reconnects after the delay and goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from forebay.metadata import Pairs
from forebay_gateway.web.context import Status
from forebay_gateway.web.exchange import Exchange, Headers
from forebay_gateway.web.metadata import response_headers
from forebay_gateway.web.rest.status_json import retry_delay_s, status_json
from forebay_gateway.web.sse.event import CONTENT_TYPE, HEARTBEAT, event, opening
from forebay_gateway.web.sse.position import END, event_id
from forebay_gateway.web.sse.subscription import Subscription

RETRY_MS = 1000
"""Short, since a call without callers ends after the route's linger, by default 10 s."""
HEARTBEAT_S = 15.0
"""As HTML's specification recommends: proxies close idle connections after 30 s or more."""

_HEADERS: Headers = [
    (b"content-type", CONTENT_TYPE.encode()),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]

ToJson = Callable[[bytes], Awaitable[bytes]]


class EventResponses:
    """Implements `Responses`.

    `to_json` converts a response to JSON; `is_transient` tells whether it has no ordinal.
    """

    def __init__(
        self,
        exchange: Exchange,
        subscription: Subscription,
        to_json: ToJson,
        is_transient: Callable[[bytes], bool],
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._exchange = exchange
        self._subscription = subscription
        self._to_json = to_json
        self._is_transient = is_transient
        self._heartbeat_s = heartbeat_s
        self._seen = subscription.seen
        self._has_sent_items = False
        self._sends = 0
        self._lock = asyncio.Lock()

    async def begin(self, initial: Pairs) -> None:
        await self._exchange.start(200, [*_HEADERS, *response_headers(initial)])
        ours = self._subscription
        # Without this id, a browser that reconnects before the first item could not name its call.
        named = event_id(ours.call_id, ours.seen) if ours.call_id is not None else ""
        await self._send(opening(RETRY_MS, named))
        if initial:
            await self._send(event(_metadata_json(initial), name="start"))

    async def message(self, message: bytes) -> None:
        data = await self._to_json(message)
        self._has_sent_items = True
        if not self._subscription.has_ids or self._is_transient(message):
            await self._send(event(data))
            return
        self._seen += 1
        await self._send(event(data, event_id=event_id(self._subscription.call_id, self._seen)))

    async def end(self, status: Status) -> None:
        delay_s = retry_delay_s(status)
        if delay_s is not None and self._may_reconnect:
            again = event(status_json(status), name="retry")
            await self._send(opening(max(1, round(delay_s * 1000))) + again, more=False)
            return
        failed = b"" if status.is_ok else event(status_json(status), name="error")
        last = event(_metadata_json(status.trailing), name="end", event_id=END)
        await self._send(failed + last, more=False)

    @property
    def _may_reconnect(self) -> bool:
        """Whether a browser that reconnects gets no item twice."""
        return self._subscription.has_ids or not self._has_sent_items

    @asynccontextmanager
    async def heartbeats(self) -> AsyncIterator[None]:
        """Sends a comment after each `heartbeat_s` without an event."""
        beating = asyncio.get_running_loop().create_task(self._beat())
        try:
            yield
        finally:
            beating.cancel()

    async def _beat(self) -> None:
        while True:
            sends = self._sends
            await asyncio.sleep(self._heartbeat_s)
            if self._sends == sends and self._exchange.has_started:
                await self._send(HEARTBEAT)

    async def _send(self, data: bytes, *, more: bool = True) -> None:
        async with self._lock:
            self._sends += 1
            await self._exchange.send(data, more=more)


def _metadata_json(pairs: Pairs) -> bytes:
    metadata: dict[str, list[str]] = {}
    for name, value in response_headers(pairs):
        metadata.setdefault(name.decode(), []).append(value.decode())
    return json.dumps({"metadata": metadata}, ensure_ascii=False).encode()
