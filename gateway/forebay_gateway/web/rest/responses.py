"""REST responses: one JSON text, or a stream of lines with one JSON text each.

A line of a stream is `{"result": …}`; if the call fails, the last line is `{"error": …}` with the
`google.rpc.Status`. grpc-gateway writes the same: a bare response could have a field `error`. A
stream that fails before its first response has the error's HTTP status, as a unary call does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from forebay.metadata import Pairs
from forebay_gateway.web.codecs import JSON_TYPE
from forebay_gateway.web.compression import GZIP, accepts_gzip, compressed, is_worth_it
from forebay_gateway.web.context import Status
from forebay_gateway.web.exchange import Exchange, Headers
from forebay_gateway.web.metadata import response_headers
from forebay_gateway.web.rest.status_json import error_headers, http_status, status_json

LINES_TYPE = "application/x-ndjson"
_TRAILER = b"trailer-"

ToJson = Callable[[bytes], Awaitable[bytes]]


class JsonResponse:
    """The one response of a unary method; implements `Responses`."""

    def __init__(self, exchange: Exchange, to_json: ToJson) -> None:
        self._exchange = exchange
        self._to_json = to_json
        self._initial: Pairs = ()
        self._body: bytes | None = None

    async def begin(self, initial: Pairs) -> None:
        self._initial = initial

    async def message(self, message: bytes) -> None:
        self._body = await self._to_json(message)

    async def end(self, status: Status) -> None:
        if not status.is_ok or self._body is None:
            await respond_error(self._exchange, status, self._initial)
            return
        encoding, body = await self._encoded(self._body)
        headers = [(b"content-type", JSON_TYPE.encode()), *encoding]
        metadata = _metadata_headers(self._initial, status.trailing)
        await self._exchange.respond(200, [*headers, *metadata], body)

    async def _encoded(self, body: bytes) -> tuple[Headers, bytes]:
        if not is_worth_it(body):
            return [], body
        vary = (b"vary", b"accept-encoding")
        if not accepts_gzip(self._exchange.headers.get(b"accept-encoding", b"")):
            return [vary], body
        return [vary, (b"content-encoding", GZIP)], await compressed(body)


class JsonLines:
    """A stream of responses; implements `Responses`."""

    def __init__(self, exchange: Exchange, to_json: ToJson) -> None:
        self._exchange = exchange
        self._to_json = to_json
        self._initial: Pairs = ()
        self._has_started = False

    async def begin(self, initial: Pairs) -> None:
        self._initial = initial

    async def message(self, message: bytes) -> None:
        line = b'{"result": ' + await self._to_json(message) + b"}\n"
        await self._start()
        await self._exchange.send(line, more=True)

    async def end(self, status: Status) -> None:
        if status.is_ok:
            await self._start()
            await self._exchange.send(b"", more=False)
        elif self._has_started:
            line = b'{"error": ' + status_json(status) + b"}\n"
            await self._exchange.send(line, more=False)
        else:
            await respond_error(self._exchange, status, self._initial)

    async def _start(self) -> None:
        if not self._has_started:
            self._has_started = True
            headers = [(b"content-type", LINES_TYPE.encode()), (b"x-accel-buffering", b"no")]
            await self._exchange.start(200, [*headers, *response_headers(self._initial)])


async def respond_error(
    exchange: Exchange, status: Status, initial: Pairs = (), headers: Headers | None = None
) -> None:
    """Responds with the status as JSON and with its HTTP status."""
    own = [(b"content-type", JSON_TYPE.encode()), *(headers or []), *error_headers(status)]
    metadata = _metadata_headers(initial, status.trailing)
    await exchange.respond(http_status(status), [*own, *metadata], status_json(status))


def _metadata_headers(initial: Pairs, trailing: Pairs) -> Headers:
    return response_headers(initial) + response_headers(trailing, _TRAILER)
