"""Server-sent events over ASGI: calls that start, resume, fail, and end."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

import pytest
from google.protobuf.message import Message

from forebay.compute.v1 import compute_pb2
from forebay.errors import Draining, HandlerFailed
from forebay_gateway.rpc.context import Context
from forebay_gateway.rpc.status import abort
from forebay_gateway.web.exchange import Exchange
from forebay_gateway.web.methods import WebMethod
from forebay_gateway.web.sse.protocol import EventStream
from forebay_gateway.web.sse.subscription import CallKind
from tests.unit.gateway.web.asgi import LIMITS, Recorder, Response, call
from tests.unit.gateway.web.rest.library import rpc
from tests.unit.gateway.web.sse.event_source import Event, EventSource

pb = compute_pb2
SERVICE = compute_pb2.DESCRIPTOR.services_by_name["ComputeService"]
FACTORIAL, MATMUL, ADD = (SERVICE.methods_by_name[name] for name in ("Factorial", "MatMul", "Add"))
CREATE_BOOK = rpc("CreateBook")
DURABLE = CallKind(is_resumable=True, transient="progress")
EVENTS = ("accept", "text/event-stream")
PROGRESS = pb.FactorialResponse(progress=pb.Progress(fraction=0.5))
ITEMS = [pb.FactorialResponse(digits=str(number)) for number in range(3)]


async def events(
    method: Any,
    recorder: Recorder,
    query: str = "",
    *headers: tuple[str, str],
    kind: CallKind = DURABLE,
    body: bytes | None = None,
    leave: asyncio.Event | None = None,
    heartbeat_s: float = 60,
) -> Response:
    path = f"/{method.containing_service.full_name}/{method.name}"
    web = WebMethod(path, method, recorder.handler(streams=method.server_streaming))
    protocol = EventStream({path: kind}, heartbeat_s)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        exchange = Exchange(scope, receive, send)
        assert protocol.takes(exchange, web)
        await protocol.serve(exchange, web, LIMITS)

    json_type = [] if body is None else [("content-type", "application/json")]
    http_method = "GET" if body is None else "POST"
    target = f"{path}?{query}"
    return await call(
        app, http_method, target, [EVENTS, *json_type, *headers], body or b"", leave=leave
    )


def source(response: Response) -> EventSource:
    assert response.headers["content-type"] == "text/event-stream"
    found = EventSource()
    found.feed(response.body)
    return found


def short(found: list[Event]) -> list[tuple[str, Any, str]]:
    return [(one.name, json.loads(one.data), one.last_id) for one in found]


def responding(*responses: Message) -> Recorder:
    async def respond(context: Context) -> bytes | None:
        await context.send_initial_metadata((("forebay-attached", "new"),))
        for response in responses:
            await context.write(response.SerializeToString())
        context.set_trailing_metadata((("forebay-attempts", "1"),))
        return None

    return Recorder(respond)


def failing(error: Any, *responses: Message) -> Recorder:
    async def respond(context: Context) -> bytes | None:
        for response in responses:
            await context.write(response.SerializeToString())
        await abort(context, error)

    return Recorder(respond)


MESSAGE = "message=" + quote('{"n": "5"}')


async def test_a_call_that_the_url_names_has_ordinals_as_ids() -> None:
    recorder = responding(ITEMS[0], PROGRESS, ITEMS[1])
    response = await events(FACTORIAL, recorder, f"{MESSAGE}&call_id=mine")
    assert recorder.metadata == {"forebay-call-id": "mine"}
    assert recorder.requests == [pb.FactorialRequest(n=5).SerializeToString()]
    assert short(source(response).events) == [
        ("start", {"metadata": {"forebay-attached": ["new"]}}, ""),
        ("message", {"digits": "0"}, "0"),
        ("message", {"progress": {"fraction": 0.5}}, "0"),
        ("message", {"digits": "1"}, "1"),
        ("end", {"metadata": {"forebay-attempts": ["1"]}}, "end"),
    ]
    assert source(response).retry_ms == 1000


async def test_a_call_that_the_url_does_not_name_is_named_by_its_events() -> None:
    recorder = responding(PROGRESS, ITEMS[0])
    found = source(await events(FACTORIAL, recorder, MESSAGE))
    made = str(recorder.metadata["forebay-call-id"])
    assert [one.last_id for one in found.events] == [f"{made}/", f"{made}/", f"{made}/0", "end"]


async def test_a_reconnection_resumes_at_the_next_item() -> None:
    recorder = responding(ITEMS[2])
    response = await events(FACTORIAL, recorder, MESSAGE, ("last-event-id", "made/1"))
    assert recorder.metadata == {"forebay-call-id": "made", "forebay-resume-from": "2"}
    assert [one.last_id for one in source(response).events] == ["made/1", "made/2", "end"]


async def test_a_page_may_give_the_last_id_in_the_url_and_a_reconnection_wins() -> None:
    recorder = responding(ITEMS[2])
    query = f"{MESSAGE}&call_id=mine&last_event_id=0"
    await events(FACTORIAL, recorder, query)
    assert recorder.metadata["forebay-resume-from"] == "1"
    await events(FACTORIAL, recorder, query, ("last-event-id", "1"))
    assert recorder.metadata["forebay-resume-from"] == "2"


async def test_a_header_names_the_call_too() -> None:
    recorder = responding(ITEMS[0])
    response = await events(FACTORIAL, recorder, MESSAGE, ("forebay-call-id", "mine"))
    assert recorder.metadata == {"forebay-call-id": "mine"}
    assert source(response).events[1].last_id == "0"


async def test_after_the_end_a_browser_is_told_to_stop() -> None:
    recorder = responding()
    response = await events(FACTORIAL, recorder, MESSAGE, ("last-event-id", "end"))
    assert (response.status, response.body) == (204, b"")
    assert recorder.metadata == {}


async def test_a_failed_call_has_an_error_and_an_end() -> None:
    response = await events(FACTORIAL, failing(HandlerFailed("it failed"), ITEMS[0]), MESSAGE)
    item, error, end = source(response).events
    assert (item.name, error.name, end.name) == ("message", "error", "end")
    status = json.loads(error.data)
    assert (status["code"], status["message"]) == (13, "it failed")
    assert status["details"][0]["reason"] == "HANDLER_FAILED"


async def test_a_gateway_that_shuts_down_makes_the_browser_reconnect() -> None:
    response = await events(
        FACTORIAL, failing(Draining("bye", retry_after_s=0.25), ITEMS[0]), MESSAGE
    )
    found = source(response)
    assert [one.name for one in found.events] == ["message", "retry"]
    assert found.events[-1].last_id.endswith("/0")
    assert found.retry_ms == 250
    assert response.is_complete


async def test_a_stream_that_can_not_be_resumed_is_not_shown_twice() -> None:
    error = Draining("bye", retry_after_s=0.25)
    kind = CallKind()
    found = source(await events(FACTORIAL, failing(error, ITEMS[0]), MESSAGE, kind=kind))
    assert [one.name for one in found.events] == ["message", "error", "end"]
    found = source(await events(FACTORIAL, failing(error), MESSAGE, kind=kind))
    assert [one.name for one in found.events] == ["retry"]


async def test_a_call_without_a_record_gets_no_id() -> None:
    recorder = responding(ITEMS[0])
    found = source(await events(FACTORIAL, recorder, MESSAGE, kind=CallKind()))
    assert recorder.metadata == {}
    assert [one.last_id for one in found.events] == ["", "", "end"]


async def test_the_one_request_may_be_a_whole_stream() -> None:
    recorder = responding()
    await events(MATMUL, recorder, "message=" + quote('{"random": {"m": 2, "n": 3}}'))
    expected = pb.MatMulRequest(random=pb.RandomOperands(m=2, n=3)).SerializeToString()
    assert recorder.requests == [expected]


async def test_a_unary_call_is_one_event() -> None:
    async def respond(context: Context) -> bytes:
        return pb.AddResponse(sum=3).SerializeToString()

    recorder = Recorder(respond)
    kind = CallKind(is_resumable=True)
    found = source(await events(ADD, recorder, "message={}&call_id=mine", kind=kind))
    assert short(found.events) == [("message", {"sum": 3.0}, "0"), ("end", {"metadata": {}}, "end")]
    again = await events(
        ADD, recorder, "message={}&call_id=mine", ("last-event-id", "0"), kind=kind
    )
    assert again.status == 204


async def test_a_message_may_be_binary_as_in_connects_get() -> None:
    recorder = responding()
    await events(FACTORIAL, recorder, "connect=v1&encoding=proto&base64=1&message=CAU")
    assert recorder.requests == [pb.FactorialRequest(n=5).SerializeToString()]


async def test_a_known_call_needs_no_message() -> None:
    recorder = responding()
    await events(FACTORIAL, recorder, "call_id=mine")
    assert (recorder.requests, recorder.metadata) == ([], {"forebay-call-id": "mine"})


async def test_a_get_attaches_to_a_call_that_has_side_effects_and_starts_none() -> None:
    recorder = responding()
    await events(CREATE_BOOK, recorder, "call_id=mine")
    assert (recorder.requests, recorder.metadata) == ([], {"forebay-call-id": "mine"})
    for query in ("message={}", "message={}&call_id=mine"):
        recorder = responding()
        found = source(await events(CREATE_BOOK, recorder, query))
        assert [one.name for one in found.events] == ["error", "end"]
        assert json.loads(found.events[0].data)["code"] == 3
        assert recorder.requests == []


async def test_a_post_starts_a_call_that_has_side_effects() -> None:
    recorder = responding()
    await events(CREATE_BOOK, recorder, "call_id=mine", body=b'{"title": "T"}')
    assert len(recorder.requests) == 1
    assert recorder.metadata == {"forebay-call-id": "mine"}


@pytest.mark.parametrize(
    ("query", "headers", "text"),
    [
        ("", [], "the query has no message"),
        ("message={", [], "not a forebay.compute.v1.FactorialRequest message in JSON"),
        ("message={}&callid=a", [], "callid is not a parameter"),
        ("message={}&message={}", [], "message is given twice"),
        ("message={}&encoding=xml", [], "unknown encoding"),
        ("message={}", [("last-event-id", "x")], "last-event-id is 'x'"),
        ("message={}", [("last-event-id", "4")], "call_id is missing"),
        ("message={}&call_id=a", [("last-event-id", "b/4")], "last-event-id is of another call"),
        ("message={}", [("forebay-resume-from", "4")], "give last-event-id"),
        ("message=%ff", [], "not UTF-8"),
    ],
)
async def test_a_bad_request_is_an_error_event(
    query: str, headers: list[tuple[str, str]], text: str
) -> None:
    recorder = responding(ITEMS[0])
    response = await events(FACTORIAL, recorder, query, *headers)
    error, end = source(response).events
    status = json.loads(error.data)
    assert (error.name, end.name, status["code"]) == ("error", "end", 3)
    assert text in status["message"]
    assert recorder.requests == []


async def test_silence_is_filled_with_comments() -> None:
    leave, beats = asyncio.Event(), asyncio.Event()

    async def respond(context: Context) -> bytes | None:
        await context.send_initial_metadata(())
        await beats.wait()
        return None

    calling = asyncio.create_task(
        events(FACTORIAL, Recorder(respond), MESSAGE, leave=leave, heartbeat_s=0.01)
    )
    await asyncio.sleep(0.2)
    beats.set()
    response = await calling
    assert response.body.count(b":\n\n") > 2
    assert source(response).events[-1].name == "end"


async def test_a_caller_that_leaves_cancels_the_handler_and_the_heartbeats() -> None:
    began, leave, was_cancelled = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def respond(context: Context) -> bytes | None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            was_cancelled.set()
        return None

    before = asyncio.all_tasks()
    calling = asyncio.create_task(events(FACTORIAL, Recorder(respond), MESSAGE, leave=leave))
    await began.wait()
    leave.set()
    await calling
    assert was_cancelled.is_set()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


def test_others_do_not_take_requests_for_events() -> None:
    def exchange(method: str, *headers: tuple[bytes, bytes]) -> Exchange:
        scope = {"type": "http", "method": method, "headers": list(headers)}
        return Exchange(scope, None, None)  # type: ignore[arg-type]  # nothing is read

    async def respond(context: Context) -> None: ...

    method = WebMethod("/x/Y", FACTORIAL, Recorder(respond).handler(streams=True))
    protocol = EventStream({})
    events_wanted = (b"accept", b"text/event-stream")
    assert protocol.takes(exchange("GET", events_wanted), method)
    assert protocol.takes(
        exchange("POST", events_wanted, (b"content-type", b"application/json")), method
    )
    assert not protocol.takes(exchange("GET", (b"accept", b"*/*")), method)
    assert not protocol.takes(
        exchange("POST", events_wanted, (b"content-type", b"text/plain")), method
    )
    assert not protocol.takes(exchange("HEAD", events_wanted), method)
