"""Which call a request for events is about."""

from __future__ import annotations

import pytest

from forebay.errors import InvalidRequest
from forebay_gateway.web.sse.position import START, Position
from forebay_gateway.web.sse.subscription import CallKind, Subscription, subscribe

DURABLE = CallKind(is_resumable=True)
WITHOUT_RECORD = CallKind()


def subscribed(
    kind: CallKind, call_id: str | None, position: Position, *, streams: bool = True
) -> Subscription:
    return subscribe(kind, call_id, position, streams=streams, new_id=lambda: "new")


def test_a_stream_without_an_id_gets_one_that_its_events_name() -> None:
    assert subscribed(DURABLE, None, START) == Subscription(
        0, "new", (("forebay-call-id", "new"),), has_ids=True
    )


def test_a_call_that_the_url_names_is_not_named_by_events() -> None:
    assert subscribed(DURABLE, "mine", START) == Subscription(
        0, None, (("forebay-call-id", "mine"),), has_ids=True
    )


@pytest.mark.parametrize(
    ("call_id", "position", "named"),
    [
        ("mine", Position(None, 3), None),
        ("mine", Position("mine", 3), None),
        (None, Position("made", 3), "made"),
    ],
)
def test_a_caller_resumes_after_its_last_item(
    call_id: str | None, position: Position, named: str | None
) -> None:
    metadata = (("forebay-call-id", call_id or "made"), ("forebay-resume-from", "3"))
    assert subscribed(DURABLE, call_id, position) == Subscription(3, named, metadata, has_ids=True)


def test_a_caller_that_saw_no_item_attaches_from_the_first_one() -> None:
    found = subscribed(DURABLE, None, Position("made", 0))
    assert found.metadata == (("forebay-call-id", "made"),)


def test_a_unary_call_without_an_id_stays_without() -> None:
    assert subscribed(DURABLE, None, START, streams=False) == Subscription()


def test_a_unary_call_with_an_id_is_attached_to() -> None:
    found = subscribed(DURABLE, "mine", START, streams=False)
    assert found.metadata == (("forebay-call-id", "mine"),)


def test_a_call_without_a_record_has_no_ids() -> None:
    assert subscribed(WITHOUT_RECORD, None, START) == Subscription()


@pytest.mark.parametrize(
    ("kind", "call_id", "position", "problem"),
    [
        (DURABLE, None, Position(None, 3), "call_id is missing: last-event-id does not name"),
        (DURABLE, "mine", Position("other", 3), "last-event-id is of another call than call_id"),
        (WITHOUT_RECORD, "mine", START, "call_id is for calls that have a record"),
        (WITHOUT_RECORD, None, Position(None, 3), "last-event-id is for calls that have a record"),
        (WITHOUT_RECORD, None, Position("a", 0), "last-event-id is for calls that have a record"),
    ],
)
def test_what_can_not_be_resumed_is_refused(
    kind: CallKind, call_id: str | None, position: Position, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        subscribed(kind, call_id, position)
