"""`GET /package.Service/Method?message=JSON&call_id=ID` with `Accept: text/event-stream`.

The parameters are those of Connect's GET, and:

- `call_id`: the call's id, as `forebay-call-id`
- `last_event_id`: as the header `Last-Event-ID`, which a page can't set; the header wins

A GET starts calls of methods without side effects only. To a call of another method, it attaches,
by its id and without a message. Such a call is started by POST, with the request as JSON in the
body and the same `Accept`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from forebay.errors import FieldViolation, ForebayError, InvalidRequest
from forebay.metadata import CALL_ID, RESUME_FROM
from forebay_gateway.fronts.limits import FrontLimits
from forebay_gateway.rpc.uuid7 import uuid7
from forebay_gateway.web.codecs import BY_NAME, JSON, JSON_TYPE
from forebay_gateway.web.connect.head import read_timeout
from forebay_gateway.web.connect.unary import BodyRequest, QueryRequest
from forebay_gateway.web.context import Requests, serve_rpc
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.rest.no_request import NoRequest
from forebay_gateway.web.rest.one_request import one_request
from forebay_gateway.web.rest.request_message import parse_query
from forebay_gateway.web.sse.event import accepts_events
from forebay_gateway.web.sse.position import Position, read_position
from forebay_gateway.web.sse.responses import HEARTBEAT_S, EventResponses, ToJson
from forebay_gateway.web.sse.subscription import CallKind, Subscription, subscribe

_PARAMETERS = frozenset(
    {"message", "encoding", "base64", "compression", "connect", "call_id", "last_event_id"}
)


def wants_events(exchange: Exchange) -> bool:
    """Whether the caller accepts server-sent events."""
    return accepts_events(exchange.headers.get(b"accept", b""))


class EventStream:
    """Implements `Protocol`; `kinds` are those of the methods with records, by path."""

    content_types: tuple[str, ...] = (JSON_TYPE,)

    def __init__(self, kinds: Mapping[str, CallKind], heartbeat_s: float = HEARTBEAT_S) -> None:
        self._kinds = kinds
        self._heartbeat_s = heartbeat_s

    def takes(self, exchange: Exchange, method: WebMethod) -> bool:
        if not wants_events(exchange):
            return False
        is_post = exchange.method == "POST" and exchange.content_type == JSON_TYPE
        return exchange.method == "GET" or is_post

    async def serve(self, exchange: Exchange, method: WebMethod, limits: FrontLimits) -> None:
        try:
            query = _query(exchange)
            requests = _requests(exchange, method, query, limits)
        except InvalidRequest as error:
            query, requests = {}, Failing(error)
        call = EventCall(query.get("call_id"), query.get("last_event_id", ""))
        await self.serve_call(
            exchange, method, limits, requests, partial(JSON.response, method), call
        )

    async def serve_call(
        self,
        exchange: Exchange,
        method: WebMethod,
        limits: FrontLimits,
        requests: Requests,
        to_json: ToJson,
        call: EventCall,
    ) -> None:
        """Serves the call that the requests start, or that the caller follows, as events."""
        kind = self._kinds.get(method.path, CallKind())
        subscription = Subscription()
        try:
            position = _position(exchange, call.last_event_id)
            if position.is_end or (position.seen and not method.server_streaming):
                await exchange.respond(204, [])  # an EventSource stops
                return
            url_call_id = call.id or _header(exchange, CALL_ID) or None
            subscription = subscribe(
                kind, url_call_id, position, streams=method.server_streaming, new_id=uuid7
            )
        except InvalidRequest as error:
            requests = Failing(error)
        _set_metadata(exchange, subscription.metadata)
        responses = EventResponses(
            exchange, subscription, to_json, transience(method, kind), self._heartbeat_s
        )
        async with responses.heartbeats():
            await serve_rpc(
                exchange, one_request(method), limits, requests, responses, read_timeout
            )


@dataclass(frozen=True, slots=True)
class EventCall:
    """The call that a URL names, and the last event that the caller has of it, if any."""

    id: str | None = None
    last_event_id: str = ""


class Failing(NoRequest):
    """The request of an RPC that fails; implements `Requests`."""

    def __init__(self, error: ForebayError) -> None:
        self._error = error

    async def read(self) -> object:
        raise self._error


def transience(method: WebMethod, kind: CallKind) -> Callable[[bytes], bool]:
    """Tells which responses are transient."""
    field = kind.transient
    if not field:
        return lambda message: False
    return lambda message: method.response_class.FromString(message).HasField(field)


def _query(exchange: Exchange) -> dict[str, str]:
    query = parse_query(exchange.scope.get("query_string", b""))
    for name, values in query.items():
        if name not in _PARAMETERS:
            raise _invalid(name, f"is not a parameter; expected {', '.join(sorted(_PARAMETERS))}")
        if len(values) > 1:
            raise _invalid(name, "is given twice")
    return {name: values[0] for name, values in query.items()}


def _requests(
    exchange: Exchange, method: WebMethod, query: Mapping[str, str], limits: FrontLimits
) -> Requests:
    if exchange.method == "POST":
        if "message" in query:
            raise _invalid("message", "is in the query, but a POST has it in its body")
        return BodyRequest(exchange, method, JSON, limits.max_request_bytes)
    names_call = bool(query.get("call_id")) or "/" in _last_event_id(exchange, query)
    if not method.no_side_effects:
        if not names_call:
            raise _invalid("call_id", "is missing: a GET starts no call that has side effects")
        if "message" in query:
            raise _invalid("message", "starts a call, and this method may have side effects: POST")
    if "message" not in query and names_call:
        return NoRequest()
    codec = BY_NAME.get(query.get("encoding", "json"))
    return QueryRequest(query, method, codec, limits.max_request_bytes)


def _last_event_id(exchange: Exchange, query: Mapping[str, str]) -> str:
    return _header(exchange, "last-event-id") or query.get("last_event_id", "")


def _position(exchange: Exchange, in_query: str) -> Position:
    if _header(exchange, RESUME_FROM):
        raise _invalid(RESUME_FROM, "is for gRPC; give last-event-id")
    return read_position(_header(exchange, "last-event-id") or in_query)


def _header(exchange: Exchange, name: str) -> str:
    return exchange.headers.get(name.encode(), b"").decode("latin-1")


def _set_metadata(exchange: Exchange, metadata: Sequence[tuple[str, str]]) -> None:
    """Adds request metadata, in place of what the caller sent under these keys."""
    if metadata:
        ours = [(key.encode(), value.encode()) for key, value in metadata]
        keys = {key for key, _ in ours}
        theirs = [pair for pair in exchange.scope["headers"] if pair[0] not in keys]
        exchange.scope = {**exchange.scope, "headers": [*theirs, *ours]}


def _invalid(field: str, description: str) -> InvalidRequest:
    violation = FieldViolation(field, description)
    return InvalidRequest(f"{field} {description}", violations=(violation,))
