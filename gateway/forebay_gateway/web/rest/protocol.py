"""REST: methods with a binding of `google.api.http`, and JSON streams of any method."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from urllib.parse import quote

import grpc

from forebay.errors import InvalidRequest
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.web.codecs import JSON, JSON_TYPE
from forebay_gateway.web.compression import decompressed
from forebay_gateway.web.connect.unary import BodyRequest
from forebay_gateway.web.context import Responses, Status, serve_rpc
from forebay_gateway.web.exchange import Exchange, Receive, Scope, Send
from forebay_gateway.web.large_work import worked
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.rest.bindings import Binding
from forebay_gateway.web.rest.one_request import one_request
from forebay_gateway.web.rest.path_template import UndecodablePath
from forebay_gateway.web.rest.request_message import parse_query, request_message
from forebay_gateway.web.rest.response_json import response_json
from forebay_gateway.web.rest.responses import JsonLines, JsonResponse, respond_error
from forebay_gateway.web.rest.router import Found, Router
from forebay_gateway.web.rest.timeouts import read_timeout
from forebay_gateway.web.sse.protocol import EventCall, EventStream, wants_events


class Rest:
    """An ASGI application for requests that match a binding; others get NOT_FOUND or 405.

    `methods` are by path. `events` serves callers that accept server-sent events.
    """

    def __init__(
        self,
        bindings: Iterable[Binding],
        methods: Mapping[str, WebMethod],
        limits: FrontLimits,
        events: EventStream,
    ) -> None:
        self._router = Router(bindings)
        self._methods = methods
        self._limits = limits
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, receive, send)
        try:
            found = self._router.find(exchange.method, raw_path(scope))
        except UndecodablePath as error:
            await _refuse(exchange, grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        if isinstance(found, Found):
            await self._serve(exchange, found)
        elif found.allowed:
            allowed = ", ".join(sorted(found.allowed))
            text = f"the path takes {allowed}, not {exchange.method}"
            await exchange.respond(405, [(b"allow", allowed.encode()), _TEXT], f"{text}\n".encode())
        else:
            text = f"nothing is served at {exchange.method} {scope['path'][:200]}"
            await _refuse(exchange, grpc.StatusCode.NOT_FOUND, text)

    async def _serve(self, exchange: Exchange, found: Found) -> None:
        binding = found.binding
        if binding.body and exchange.content_type not in (JSON_TYPE, ""):
            text = f"the body is {exchange.content_type}; expected {JSON_TYPE}\n"
            await exchange.respond(
                415, [(b"accept-post", JSON_TYPE.encode()), _TEXT], text.encode()
            )
            return
        method = self._methods[binding.path]
        requests = BoundRequest(exchange, found, self._limits.max_request_bytes)
        to_json = partial(_response_json, method, binding)
        if wants_events(exchange):
            await self._events.serve_call(
                exchange, method, self._limits, requests, to_json, EventCall()
            )
            return
        responses: Responses = JsonResponse(exchange, to_json)
        if method.server_streaming:
            responses = JsonLines(exchange, to_json)
        await serve_rpc(
            exchange, one_request(method), self._limits, requests, responses, read_timeout
        )


class RestStream:
    """`POST /package.Service/Method` in JSON, for streams of responses; implements `Protocol`.

    In Connect, `application/json` is for unary calls only: its streams have another content type.
    """

    content_types: tuple[str, ...] = (JSON_TYPE,)

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        is_json = exchange.method == "POST" and exchange.content_type == JSON_TYPE
        return is_json and method.server_streaming

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        requests = BodyRequest(exchange, method, JSON, limits.max_request_bytes)
        responses = JsonLines(exchange, partial(JSON.response, method))
        await serve_rpc(exchange, one_request(method), limits, requests, responses, read_timeout)


class BoundRequest:
    """The request message that a binding makes from an HTTP request; implements `Requests`."""

    def __init__(self, exchange: Exchange, found: Found, limit: int) -> None:
        self._exchange = exchange
        self._found = found
        self._limit = limit
        self._is_read = False

    async def read(self) -> object:
        if self._is_read:
            return grpc.aio.EOF
        body = b"" if self._exchange.method == "GET" else await self._body()
        self._is_read = True
        query = self._exchange.scope.get("query_string", b"")
        return await worked(len(body) + len(query), _request, self._found, query, body)

    async def _body(self) -> bytes:
        data = await self._exchange.body(self._limit)
        if data and self._found.binding.body and not self._exchange.content_type:
            raise InvalidRequest(f"the body has no Content-Type; send it as {JSON_TYPE}")
        encoding = self._exchange.headers.get(b"content-encoding", b"")
        return await decompressed(data, encoding, self._limit)

    def read_now(self) -> None:
        """Always None: ASGI can't tell what has arrived without waiting."""


def raw_path(scope: Scope) -> str:
    """The percent-encoded path below the `root_path` at which the application is mounted."""
    raw: bytes | None = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.partition(b"?")[0].decode("latin-1")
    return path.removeprefix(quote(scope.get("root_path", "")))


def _request(found: Found, query: bytes, body: bytes) -> bytes:
    message = request_message(found.binding, found.raw_segments, parse_query(query), body)
    return message.SerializeToString()


async def _response_json(method: WebMethod, binding: Binding, message: bytes) -> bytes:
    return await worked(
        len(message), response_json, message, method.response_class, binding.response_body
    )


async def _refuse(exchange: Exchange, code: grpc.StatusCode, text: str) -> None:
    await respond_error(exchange, Status(code, text))


_TEXT = (b"content-type", b"text/plain; charset=utf-8")
