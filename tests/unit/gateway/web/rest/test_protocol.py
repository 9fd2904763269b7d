"""REST over ASGI: from the HTTP request to the handler and back."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from google.protobuf.message import Message

from forebay.errors import BackendUnavailable, FieldViolation, InvalidRequest, Unauthenticated
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.status import abort
from forebay_gateway.web.context import Status
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.rest.protocol import Rest, RestStream
from forebay_gateway.web.rest.status_json import http_status
from forebay_gateway.web.sse.protocol import EventStream
from tests.unit.gateway.web.asgi import LIMITS, Recorder, Response, call
from tests.unit.gateway.web.rest.library import bindings, library, message, rpc

JSON = ("content-type", "application/json")
EVENTS = ("accept", "text/event-stream")
NAMES = [*library().services_by_name["Library"].methods_by_name]


def rest(recorder: Recorder) -> Rest:
    methods = {}
    for name in NAMES:
        method = rpc(name)
        path = f"/library.v1.Library/{name}"
        methods[path] = WebMethod(path, method, recorder.handler(streams=method.server_streaming))
    found = [binding for name in NAMES for binding in bindings(name)]
    return Rest(found, methods, LIMITS, EventStream({}))


def responding(*responses: Message, initial: Any = (), trailing: Any = ()) -> Recorder:
    async def respond(context: Context) -> bytes | None:
        await context.send_initial_metadata(initial)
        context.set_trailing_metadata(trailing)
        if len(responses) == 1:
            return responses[0].SerializeToString()
        for response in responses:
            await context.write(response.SerializeToString())
        return None

    return Recorder(respond)


def failing(error: Any, *before: Message) -> Recorder:
    async def respond(context: Context) -> bytes | None:
        for response in before:
            await context.write(response.SerializeToString())
        await abort(context, error)

    return Recorder(respond)


def received(recorder: Recorder, name: str) -> Any:
    (request,) = recorder.requests
    parsed = message(name).FromString(request)
    return json_format.MessageToDict(parsed, preserving_proto_field_name=True)


BOOK = message("Book", name="shelves/1/books/2", pages=12, author={"given_name": "A"})


async def test_a_get_sends_the_path_and_returns_json() -> None:
    recorder = responding(BOOK, initial=(("a", "1"),), trailing=(("b", "2"), ("set-cookie", "x")))
    response = await call(rest(recorder), "GET", "/v1/shelves/1/books/2")
    assert received(recorder, "GetBookRequest") == {"name": "shelves/1/books/2"}
    assert response.status == 200
    assert response.headers["content-type"] == "application/json"
    assert (response.headers["a"], response.headers["trailer-b"]) == ("1", "2")
    assert "set-cookie" not in response.headers
    assert "trailer-set-cookie" not in response.headers
    expected = {"name": "shelves/1/books/2", "pages": "12", "author": {"givenName": "A"}}
    assert response.json == expected


async def test_a_patch_sends_the_body_as_a_field() -> None:
    recorder = responding(BOOK)
    target = "/v1/shelves/1/books/2?updateMask=title&validate_only=true"
    await call(rest(recorder), "PATCH", target, [JSON], b'{"title": "T"}')
    assert received(recorder, "UpdateBookRequest") == {
        "book": {"name": "shelves/1/books/2", "title": "T"},
        "update_mask": "title",
        "validate_only": True,
    }


async def test_the_response_may_be_one_field() -> None:
    response = message("ListBooksResponse", books=[{"title": "T"}])
    found = await call(rest(responding(response)), "GET", "/v1/shelves/1/books")
    assert found.json == [{"title": "T"}]
    found = await call(rest(responding(message("ListBooksResponse"))), "GET", "/v1/shelves/1/books")
    assert found.json == []


async def test_custom_methods_and_verbs_are_found() -> None:
    recorder = responding(message("GetBookRequest"))
    found = await call(rest(recorder), "LOCK", "/v1/shelves/1/books/2")
    assert (found.status, found.json) == (200, {})
    found = await call(rest(recorder), "POST", "/v1/shelves/1/books/2:lock")
    assert found.status == 200
    assert len(recorder.requests) == 2


async def test_metadata_and_the_deadline_come_from_headers() -> None:
    recorder = responding(BOOK)
    headers = [("x-tag", "7"), ("forebay-call-id", "a"), ("grpc-timeout", "5S"), ("cookie", "x")]
    await call(rest(recorder), "GET", "/v1/shelves/1/books/2", headers)
    assert recorder.metadata == {"x-tag": "7", "forebay-call-id": "a"}
    assert recorder.timeout_s == pytest.approx(5, abs=1)
    await call(rest(recorder), "GET", "/v1/shelves/1/books/2", [("connect-timeout-ms", "9000")])
    assert recorder.timeout_s == pytest.approx(9, abs=1)


async def test_an_error_is_a_status_in_json_and_of_http() -> None:
    error = InvalidRequest("bad", violations=(FieldViolation("name", "is bad"),))
    response = await call(rest(failing(error)), "GET", "/v1/shelves/1/books/2")
    assert response.status == 400
    info, request = response.json["details"]
    assert (response.json["code"], response.json["message"]) == (3, "bad")
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert info["reason"] == "INVALID_REQUEST"
    assert request["fieldViolations"] == [{"field": "name", "description": "is bad"}]


async def test_an_error_says_when_to_retry() -> None:
    error = BackendUnavailable("down", retry_after_s=1.2)
    response = await call(rest(failing(error)), "GET", "/v1/shelves/1/books/2")
    assert (response.status, response.headers["retry-after"]) == (503, "2")


async def test_an_unknown_caller_is_told_how_to_authenticate() -> None:
    response = await call(rest(failing(Unauthenticated("who?"))), "GET", "/v1/shelves/1/books/2")
    assert (response.status, response.headers["www-authenticate"]) == (401, "Bearer")


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/v1/search?an_int32=x", "an_int32 is 'x'; expected a value of type int32"),
        ("/v1/search?nothing=1", "nothing is not a parameter"),
        ("/v1/search?a_string=%ff", "not UTF-8"),
    ],
)
async def test_a_bad_request_is_refused_with_the_reason(target: str, text: str) -> None:
    recorder = responding(message("Everything"))
    response = await call(rest(recorder), "GET", target)
    assert response.status == 400
    assert text in response.json["message"]
    assert recorder.requests == []


async def test_a_stream_is_lines_of_results() -> None:
    recorder = responding(message("Everything", an_int32=1), message("Everything", a_string="a\nb"))
    response = await call(rest(recorder), "GET", "/v1/search")
    assert response.headers["content-type"] == "application/x-ndjson"
    assert response.body == b'{"result": {"anInt32": 1}}\n{"result": {"aString": "a\\nb"}}\n'
    assert len(response.parts) == 3  # each as it comes


async def test_an_empty_stream_is_an_empty_body() -> None:
    response = await call(rest(responding()), "GET", "/v1/search")
    assert (response.status, response.body, response.is_complete) == (200, b"", True)


async def test_a_stream_that_fails_ends_with_an_error() -> None:
    recorder = failing(BackendUnavailable("down"), message("Everything", an_int32=1))
    response = await call(rest(recorder), "GET", "/v1/search")
    assert response.status == 200
    first, last = response.body.splitlines()
    assert first == b'{"result": {"anInt32": 1}}'
    assert last.startswith(b'{"error": {"code": 14, "message": "down", "details": [')


async def test_a_stream_that_fails_at_once_has_the_status_of_http() -> None:
    response = await call(rest(failing(BackendUnavailable("down"))), "GET", "/v1/search")
    assert (response.status, response.json["code"]) == (503, 14)


async def test_a_stream_may_be_events() -> None:
    recorder = responding(message("Everything", an_int32=1), message("Everything"))
    response = await call(rest(recorder), "GET", "/v1/search?an_int32=5", [EVENTS])
    assert response.headers["content-type"] == "text/event-stream"
    assert b'data: {"anInt32": 1}\n\ndata: {}\n\n' in response.body
    assert received(recorder, "Everything") == {"an_int32": 5}


async def test_a_unary_response_may_be_an_event() -> None:
    response = await call(rest(responding(BOOK)), "GET", "/v1/books/a", [EVENTS])
    assert b'"pages": "12"' in response.body
    assert b"event: end\n" in response.body


async def test_a_path_that_nothing_is_bound_to_is_not_found() -> None:
    response = await call(rest(responding()), "GET", "/v2/books")
    assert (response.status, response.json) == (
        404,
        {"code": 5, "message": "nothing is served at GET /v2/books"},
    )


async def test_another_method_on_a_known_path_is_told_which_are_allowed() -> None:
    response = await call(rest(responding()), "PUT", "/v1/shelves/1/books/2")
    assert (response.status, response.headers["allow"]) == (405, "DELETE, GET, LOCK, PATCH, POST")


async def test_a_path_that_is_no_utf_8_is_refused() -> None:
    response = await call(rest(responding()), "GET", "/v1/books/%ff")
    assert (response.status, response.json["code"]) == (400, 3)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded"])
async def test_a_body_is_json_so_no_form_of_another_site_can_send_it(kind: str) -> None:
    recorder = responding(BOOK)
    response = await call(
        rest(recorder), "POST", "/v1/shelves/1", [("content-type", kind)], b'{"title": "T"}'
    )
    assert response.status == 415
    response = await call(rest(recorder), "POST", "/v1/shelves/1", [], b'{"title": "T"}')
    assert response.status == 400
    assert "no Content-Type" in response.json["message"]
    assert recorder.requests == []


async def test_a_body_over_the_limit_is_refused() -> None:
    response = await call(
        rest(responding(BOOK)), "POST", "/v1/shelves/1", [JSON], b" " * (2 << 20) + b"{}"
    )
    assert (response.status, response.json["code"]) == (429, 8)


async def test_bodies_may_be_compressed_both_ways() -> None:
    recorder = responding(message("Book", title="x" * 5000))
    headers = [JSON, ("content-encoding", "gzip"), ("accept-encoding", "gzip")]
    body = gzip.compress(b'{"title": "T"}')
    response = await call(rest(recorder), "POST", "/v1/shelves/1", headers, body)
    assert received(recorder, "Book")["title"] == "T"
    assert response.headers["content-encoding"] == "gzip"
    assert response.headers["vary"] == "accept-encoding"
    assert b"x" * 5000 in gzip.decompress(response.body)


async def test_the_application_may_be_mounted_below_a_path() -> None:
    recorder = responding(BOOK)
    target = "/a%20b/v1/books/x%2Fy"
    response = await call(rest(recorder), "GET", target, root_path="/a b")
    assert response.status == 200
    assert received(recorder, "GetBookRequest") == {"name": "x/y"}


async def test_a_caller_that_leaves_cancels_the_handler() -> None:
    began, was_cancelled, leave = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def respond(context: Context) -> bytes | None:
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise
        return None

    calling = asyncio.create_task(call(rest(Recorder(respond)), "GET", "/v1/search", leave=leave))
    await began.wait()
    leave.set()
    await calling
    assert was_cancelled.is_set()


async def served_by_path(recorder: Recorder, body: bytes, *headers: tuple[str, str]) -> Response:
    path = "/library.v1.Library/Search"
    method = WebMethod(path, rpc("Search"), recorder.handler(streams=True))
    protocol = RestStream()

    async def app(scope: Any, receive: Any, send: Any) -> None:

        exchange = Exchange(scope, receive, send)
        assert protocol.takes(exchange, method)
        await protocol.serve(exchange, method, LIMITS)

    return await call(app, "POST", path, headers, body)


async def test_a_stream_without_a_binding_is_served_at_the_methods_own_path() -> None:
    recorder = responding(message("Everything", an_int32=1), message("Everything"))
    response = await served_by_path(recorder, b'{"aString": "x"}', JSON)
    assert response.body == b'{"result": {"anInt32": 1}}\n{"result": {}}\n'
    assert received(recorder, "Everything") == {"a_string": "x"}


def test_codes_are_those_of_grpc() -> None:

    assert {code: http_status(Status(code)) for code in grpc.StatusCode} == {
        grpc.StatusCode.OK: 200,
        grpc.StatusCode.CANCELLED: 499,
        grpc.StatusCode.UNKNOWN: 500,
        grpc.StatusCode.INVALID_ARGUMENT: 400,
        grpc.StatusCode.DEADLINE_EXCEEDED: 504,
        grpc.StatusCode.NOT_FOUND: 404,
        grpc.StatusCode.ALREADY_EXISTS: 409,
        grpc.StatusCode.PERMISSION_DENIED: 403,
        grpc.StatusCode.UNAUTHENTICATED: 401,
        grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
        grpc.StatusCode.FAILED_PRECONDITION: 400,
        grpc.StatusCode.ABORTED: 409,
        grpc.StatusCode.OUT_OF_RANGE: 400,
        grpc.StatusCode.UNIMPLEMENTED: 501,
        grpc.StatusCode.INTERNAL: 500,
        grpc.StatusCode.UNAVAILABLE: 503,
        grpc.StatusCode.DATA_LOSS: 500,
    }
