"""Server-sent events at real gateways: a call is followed across the end of its gateway."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.e2e.conftest import Site
from tests.e2e.web import Web, web_gateway
from tests.unit.gateway.web.sse.event_source import Event

STEADY = "/tests.echo.v1.EchoService/Steady"
STREAM = "/tests.echo.v1.EchoService/ServerStream"
COMPUTE = "/forebay.compute.v1.ComputeService"


@pytest.fixture
def web(site: Site) -> Web:
    return web_gateway(site)


def target(path: str, request: object, **parameters: str) -> str:
    more = "".join(f"&{name}={quote(value)}" for name, value in parameters.items())
    return f"{path}?message={quote(json.dumps(request))}{more}"


def indices(events: list[Event]) -> list[int]:
    items = [json.loads(event.data) for event in events if event.name == "message"]
    return [item.get("index", 0) for item in items if "transient" not in item]


def followed(site: Site, web: Web, url: str, *, kill_after: int, number: int) -> list[Event]:
    """The events of a caller whose gateway ends, and that reconnects as a browser does."""
    events: list[Event] = []
    with web.events(url) as stream:
        for event in stream:
            events.append(event)
            if len(indices(events)) == kill_after and web.gateway.is_live:
                web.gateway.end(number)
    if events[-1].name == "end":
        return events
    other = web_gateway(site)
    with other.events(url, events[-1].last_id) as stream:
        events += stream
    other.gateway.end(signal.SIGTERM)
    return events


@pytest.mark.parametrize(
    ("number", "named"),
    [
        (signal.SIGKILL, False),
        pytest.param(signal.SIGKILL, True, marks=pytest.mark.variant),
        pytest.param(signal.SIGTERM, False, marks=pytest.mark.variant),
        pytest.param(signal.SIGTERM, True, marks=pytest.mark.variant),
    ],
)
def test_a_stream_goes_on_at_another_gateway(
    site: Site, web: Web, number: signal.Signals, named: bool
) -> None:
    request = {"text": "x", "count": 40, "seconds": 0.1}
    parameters = {"call_id": f"sse-{number.name}"} if named else {}
    url = target(STEADY, request, **parameters)
    events = followed(site, web, url, kill_after=5, number=number)
    assert indices(events) == list(range(40))
    ids = [event.last_id for event in events if event.name == "message"]
    assert ids[-1].rpartition("/")[2] == "39"
    assert events[-1].name == "end"
    assert json.loads(events[-1].data)["metadata"]["forebay-attempts"] == ["1"]


@pytest.fixture(scope="module")
def shared(site: Site) -> Iterator[Web]:
    web = web_gateway(site)
    yield web
    web.gateway.end(signal.SIGTERM)


def test_a_call_that_has_ended_is_shown_again_from_any_item(shared: Web) -> None:
    url = target(STEADY, {"text": "x", "count": 6}, call_id="sse-again")
    with shared.events(url) as stream:
        assert indices(list(stream)) == list(range(6))
    with shared.events(f"{STEADY}?call_id=sse-again") as stream:
        assert indices(list(stream)) == list(range(6))
    with shared.events(f"{STEADY}?call_id=sse-again&last_event_id=3") as stream:
        assert indices(list(stream)) == [4, 5]
    with shared.events(url, "end") as stream:
        assert list(stream) == []


def test_a_call_with_side_effects_is_started_by_post_and_followed_by_get(shared: Web) -> None:
    with shared.events(target(STREAM, {"count": 3}, call_id="sse-post")) as stream:
        error, _ = list(stream)
    assert "may have side effects" in json.loads(error.data)["message"]
    with shared.events(f"{STREAM}?call_id=sse-post") as stream:
        error, _ = list(stream)
    assert json.loads(error.data)["details"][0]["reason"] == "CALL_UNKNOWN"
    posted = shared.request("POST", STREAM, {"count": 3}, forebay_call_id="sse-post")
    assert len(posted.lines) == 3
    with shared.events(f"{STREAM}?call_id=sse-post") as stream:
        assert indices(list(stream)) == [0, 1, 2]


def test_transient_items_have_no_id_of_their_own(shared: Web) -> None:
    with shared.events(target(f"{COMPUTE}/Factorial", {"n": "30"}, call_id="sse-30")) as stream:
        events = [event for event in stream if event.name == "message"]
    items = [json.loads(event.data) for event in events]
    ordinary = [
        event.last_id for event, item in zip(events, items, strict=True) if "progress" not in item
    ]
    assert ordinary == [str(number) for number in range(len(ordinary))]


def test_a_product_is_made_of_the_one_request_in_the_url(shared: Web) -> None:
    request = {"random": {"m": "2", "n": "3", "seed": "1"}}
    with shared.events(target(f"{COMPUTE}/MatMul", request)) as stream:
        events = list(stream)
    assert [
        json.loads(event.data)["header"]["rows"] for event in events if "header" in event.data
    ] == ["2"]
    assert events[-1].name == "end"


def test_a_bound_path_makes_events_too(shared: Web) -> None:
    with shared.events("/v1/factorial/5") as stream:
        events = list(stream)
    assert [
        json.loads(event.data).get("digits") for event in events if 'digits"' in event.data
    ] == ["120"]
    assert events[-2].last_id.endswith("/1")
