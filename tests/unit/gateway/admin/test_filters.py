"""Filters of a listing: their syntax, their errors, and the calls that they match."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forebay.errors import InvalidRequest
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.inspection import Cursor, Listed
from forebay_gateway.admin.filters import MAX_CHARACTERS, parse_filter

NEW_YEAR_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
FACTORIAL = "forebay.compute.v1.ComputeService.Factorial"


def listed(
    state: State = State.RUNNING,
    *,
    created_ms: int = NEW_YEAR_MS,
    method: str = FACTORIAL,
    queue: str = "factorial",
    begun_ms: int = 0,
    finished_ms: int = 0,
    owner: str = "",
    worker: str = "",
    reason: str = "",
) -> Listed:
    cursor = Cursor(created_ms, f"{owner}/id")
    return Listed(cursor, state, method, queue, begun_ms, finished_ms, worker, reason)


@pytest.mark.parametrize(
    ("text", "one", "wanted"),
    [
        ("", listed(), True),
        ("  ", listed(), True),
        ("state = RUNNING", listed(), True),
        ("state=CALL_STATE_RUNNING", listed(), True),
        ('state = "QUEUED"', listed(), False),
        ("state != QUEUED", listed(), True),
        ("done = false", listed(), True),
        ("done = true", listed(State.EXPIRED), True),
        ("done != true", listed(State.EXPIRED), False),
        (f'method = "{FACTORIAL}"', listed(), True),
        (f"method = {FACTORIAL}", listed(), True),
        ('method = "Factorial"', listed(), False),
        ('method = "*.Factorial"', listed(), True),
        ('method = "forebay.*"', listed(), True),
        ('method = "*compute*"', listed(), True),
        ('method = "*"', listed(method=""), True),
        ('method = "*.v1"', listed(), False),
        ('method = "forebay.*.Factorial"', listed(), False),  # only a star at an end is a wildcard
        ('name = "operations/id"', listed(), True),
        ('name = "operations/i*"', listed(), True),
        ('name = "i*"', listed(), False),
        ('name != "operations/i*"', listed(), False),
        ('name = "tenants/acme/operations/i*"', listed(owner="acme"), True),
        ('name = "operations/i*"', listed(owner="acme"), False),
        ("tenant = acme", listed(owner="acme"), True),
        ('worker = "celery@host*"', listed(worker="celery@host.1"), True),
        ('worker = "celery@host*"', listed(), False),
        ("reason = QUEUE_WAIT", listed(State.FAILED, reason="QUEUE_WAIT"), True),
        ("reason != QUEUE_WAIT", listed(State.FAILED, reason="QUEUE_WAIT"), False),
        ("tenant != acme", listed(), True),
        (r'queue = "a\"b"', listed(queue='a"b'), True),
        ("queue != add", listed(), True),
        ("state = RUNNING AND queue = add", listed(), False),
        ("state = QUEUED OR state = RUNNING", listed(), True),
        ("queue = add AND state = QUEUED OR state = RUNNING", listed(), False),
        ("state = QUEUED OR state = RUNNING AND queue = factorial", listed(), True),
        ('create_time > "2025-12-31T23:59:59.999Z"', listed(), True),
        ('create_time > "2026-01-01T00:00:00Z"', listed(), False),
        ('create_time >= "2026-01-01T00:00:00Z"', listed(), True),
        ('create_time = "2026-01-01T01:00:00+01:00"', listed(), True),
        ('create_time < "2026-01-01T00:00:00.0005Z"', listed(), True),
        ('create_time <= "2025-12-31T00:00:00Z"', listed(), False),
        ('finish_time > "2025-01-01T00:00:00Z"', listed(), False),  # not finished yet
        ('finish_time < "2099-01-01T00:00:00Z"', listed(), False),
        ('finish_time > "2025-01-01T00:00:00Z"', listed(finished_ms=NEW_YEAR_MS), True),
        ('begin_time < "2027-01-01T00:00:00Z"', listed(begun_ms=NEW_YEAR_MS), True),
    ],
)
def test_a_filter_matches_the_calls_that_it_describes(text: str, one: Listed, wanted: bool) -> None:
    assert parse_filter(text).matches(one) is wanted


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("state", "ends where a comparator"),
        ("state =", "ends where a value"),
        ("state = RUNNING AND", "ends where a field"),
        ("state = RUNNING OR", "ends where a field"),
        ("AND", "ends where a comparator"),
        ("state = RUNNING state = QUEUED", "'state' where AND or OR was expected"),
        ("state = RUNNING and done = true", "'and' where AND or OR was expected"),
        ("state = Running", "'Running': expected one of RECEIVING, DELAYED, QUEUED"),
        ("state > QUEUED", "expected = or !="),
        ("state : QUEUED", "':' where a comparator such as = was expected"),
        ("NOT done = true", "'done' where a comparator"),
        ("(done = true)", "'(done' is not a field"),
        ("done = maybe", "expected true or false"),
        ("size > 3", "'size' is not a field to filter by; the fields are state, done, name, "),
        ('"state" = RUNNING', "where a field was expected"),
        ("state = = RUNNING", "'=' where a value was expected"),
        ('create_time > "yesterday"', "expected a time such as"),
        ('create_time != "2026-01-01T00:00:00Z"', "expected one of"),
        ('method = "unclosed', "syntax error at"),
        ("x" * (MAX_CHARACTERS + 1), "longer than"),
    ],
)
def test_an_invalid_filter_is_refused_with_its_problem(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequest, match="the filter is invalid") as refused:
        parse_filter(text)
    [violation] = refused.value.violations
    assert violation.field == "filter"
    assert problem in violation.description


@given(st.text(max_size=60) | st.text(alphabet='sate=RUNIG ANDO"<>*\\', max_size=60))
def test_any_text_is_a_filter_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidRequest):
        parse_filter(text).matches(listed())


@given(
    st.sampled_from(["=", "<", "<=", ">", ">="]),
    st.integers(NEW_YEAR_MS - 5, NEW_YEAR_MS + 5),
    st.sampled_from(["", ".001", ".0009", ".002000001"]),
)
def test_no_matching_call_is_outside_of_a_filters_bounds(
    comparator: str, created_ms: int, fraction: str
) -> None:
    parsed = parse_filter(f'create_time {comparator} "2026-01-01T00:00:00{fraction}Z"')
    one = listed(created_ms=created_ms)
    if parsed.matches(one):
        assert parsed.oldest_ms is None or created_ms >= parsed.oldest_ms
        assert parsed.start is None or one.cursor < parsed.start


def test_the_tightest_of_several_bounds_applies() -> None:
    times = [f'"2026-01-01T00:00:0{second}Z"' for second in range(6)]
    after = [f"create_time >= {time}" for time in (times[1], times[2], times[0])]
    before = [f"create_time <= {time}" for time in (times[5], times[3], times[4])]
    bounded = parse_filter(" AND ".join(after + before))
    assert (bounded.oldest_ms, bounded.newest_ms) == (NEW_YEAR_MS + 2000, NEW_YEAR_MS + 3000)
    assert bounded.start == Cursor(NEW_YEAR_MS + 3001, "")


def test_only_comparisons_outside_of_or_set_bounds() -> None:
    new_year, later = '"2026-01-01T00:00:00Z"', '"2026-01-01T00:00:01Z"'
    both = parse_filter(f"create_time >= {new_year} AND create_time < {later}")
    assert (both.oldest_ms, both.newest_ms) == (NEW_YEAR_MS, NEW_YEAR_MS + 1000)
    either = parse_filter(f"create_time >= {new_year} OR done = false")
    assert (either.oldest_ms, either.start) == (None, None)
