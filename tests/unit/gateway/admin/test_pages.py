"""Pages: the merge of partitions, and page tokens."""

from __future__ import annotations

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidRequest
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.inspection import Cursor, Listed, Stretch
from forebay_gateway.admin.pages import cursor_of, merged, page_size, token_of

PLACE = Cursor(1_767_225_600_000, "/order-1842.total:x")

cursors = st.builds(
    Cursor, st.integers(1, 6), st.text("abc", min_size=1, max_size=3).map(lambda name: f"/{name}")
)


def listed(cursor: Cursor) -> Listed:
    return Listed(cursor, State.QUEUED, "m", "q", 0, 0)


def stretch(calls: list[Cursor], after: Cursor | None, limit: int) -> Stretch:
    """A partition's answer with these calls."""
    rest = [call for call in sorted(calls, reverse=True) if after is None or call < after]
    return Stretch(
        tuple(listed(call) for call in rest[:limit]),
        rest[limit - 1] if len(rest) > limit else None,
    )


@given(st.lists(st.lists(cursors, unique=True), min_size=1, max_size=4), st.integers(1, 4))
def test_all_calls_are_listed_once_newest_first_over_any_partitions(
    partitions: list[list[Cursor]], limit: int
) -> None:
    found: list[Cursor] = []
    after: Cursor | None = None
    while True:
        calls, after = merged([stretch(calls, after, limit) for calls in partitions])
        found += [call.cursor for call in calls]
        if after is None:
            break
    assert found == sorted((call for calls in partitions for call in calls), reverse=True)


@given(cursors, st.text())
def test_a_token_and_its_cursor_map_to_each_other(cursor: Cursor, filter_text: str) -> None:
    assert cursor_of(token_of(cursor, filter_text), filter_text) == cursor


@pytest.mark.parametrize("created_ms", [0, 2**53])
def test_a_token_may_have_any_time_that_a_score_of_redis_can_be(created_ms: int) -> None:
    cursor = Cursor(created_ms, "/id")
    assert cursor_of(token_of(cursor, ""), "") == cursor
    for beyond in (-1, 2**53 + 1):
        with pytest.raises(InvalidRequest, match="was not issued"):
            cursor_of(token_of(Cursor(beyond, "/id"), ""), "")


def test_a_token_is_valid_for_its_tenant_only() -> None:
    token = token_of(PLACE, "done = true", "tenants/acme/operations")
    with pytest.raises(InvalidRequest, match="another tenant"):
        cursor_of(token, "done = true", "tenants/umbrella/operations")
    assert cursor_of(token_of(PLACE, ""), "", "operations") == PLACE


def test_a_token_is_valid_for_its_filter_only() -> None:
    token = token_of(PLACE, "state = RUNNING")
    with pytest.raises(InvalidRequest, match="another filter"):
        cursor_of(token, "state = QUEUED")


@pytest.mark.parametrize(
    "words",
    [
        "",
        "1",
        "nonsense of four words",
        "2 e3b0c44298fc1c14 1767225600000 /id",
        "1 e3b0c44298fc1c14 -1 /id",
        "1 e3b0c44298fc1c14 99999999999999999999 /id",
        "1 e3b0c44298fc1c14 1767225600000 id",
        "1 e3b0c44298fc1c14 1767225600000 /no id",
        "1 e3b0c44298fc1c14 1767225600000 /ü",
    ],
)
def test_a_token_that_was_not_issued_is_refused(words: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        cursor_of(urlsafe_b64encode(words.encode()).decode(), "")
    assert refused.value.violations[0].field == "page_token"


@given(st.text())
def test_any_text_is_a_token_or_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        cursor_of(token, "")


@pytest.mark.parametrize(("asked", "size"), [(0, 100), (1, 1), (500, 500), (501, 500), (9999, 500)])
def test_the_page_size_is_the_requested_one_within_bounds(asked: int, size: int) -> None:
    assert page_size(asked) == size


def test_a_negative_page_size_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="page_size is -1"):
        page_size(-1)
