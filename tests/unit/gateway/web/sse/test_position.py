"""Ids of events, and the positions that they stand for."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidRequest
from forebay_gateway.web.sse.position import START, Position, event_id, read_position


@pytest.mark.parametrize(
    ("last_event_id", "position"),
    [
        ("", START),
        ("0", Position(None, 1)),
        ("41", Position(None, 42)),
        ("a/", Position("a", 0)),
        ("a:b._-/0", Position("a:b._-", 1)),
        ("end", Position(is_end=True)),
        ("end/", Position("end", 0)),
    ],
)
def test_positions_are_read(last_event_id: str, position: Position) -> None:
    assert read_position(last_event_id) == position


@pytest.mark.parametrize(
    "last_event_id",
    ["x", "-1", "1.5", "/", "/1", "a b/1", "a/b/1", "a/x", "١", "1" * 16, "a" * 129 + "/1"],
)
def test_what_no_event_has_as_its_id_is_refused(last_event_id: str) -> None:
    with pytest.raises(InvalidRequest, match="last-event-id is"):
        read_position(last_event_id)


@given(
    st.none() | st.from_regex(r"[A-Za-z0-9._:-]{1,20}", fullmatch=True), st.integers(0, 10**15 - 1)
)
def test_the_id_of_an_event_is_its_position(call_id: str | None, seen: int) -> None:
    assert read_position(event_id(call_id, seen)) == Position(call_id, seen)


@given(st.text(max_size=150))
def test_reading_never_fails_otherwise(last_event_id: str) -> None:
    with suppress(InvalidRequest):
        assert read_position(last_event_id).seen >= 0
