"""The bytes of events, read by the rules of HTML's specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay_gateway.web.sse.event import HEARTBEAT, accepts_events, event, opening
from tests.unit.gateway.web.sse.event_source import EventSource


def read(*chunks: bytes) -> EventSource:
    source = EventSource()
    for chunk in chunks:
        source.feed(chunk)
    return source


def test_events_have_a_name_an_id_and_data() -> None:
    source = read(event(b"{}"), event(b"1", name="end", event_id="a/7"))
    assert [(one.name, one.data, one.last_id) for one in source.events] == [
        ("message", "{}", ""),
        ("end", "1", "a/7"),
    ]


def test_an_event_without_an_id_keeps_the_one_before() -> None:
    source = read(event(b"1", event_id="3"), event(b"2"))
    assert [one.last_id for one in source.events] == ["3", "3"]


def test_an_opening_sets_the_delay_and_the_id_and_is_no_event() -> None:
    source = read(opening(1500, "a/"))
    assert (source.retry_ms, source.last_id, source.events) == (1500, "a/", [])


def test_a_heartbeat_is_no_event() -> None:
    assert read(HEARTBEAT, event(b"1")).events[0].data == "1"


@given(st.text(alphabet=st.characters(exclude_characters="\x00", codec="utf-8")))
def test_data_of_any_lines_arrives(data: str) -> None:
    (found,) = read(event(data.encode())).events
    assert found.data == data.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("accept", "accepts"),
    [
        (b"text/event-stream", True),
        (b"application/json, text/event-stream", True),
        (b"Text/Event-Stream;q=0.5", True),
        (b"text/event-stream;q=0", False),
        (b"text/event-stream; q=0.0", False),
        (b"*/*", False),
        (b"text/*", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_who_accepts_events(accept: bytes, accepts: bool) -> None:
    assert accepts_events(accept) is accepts
