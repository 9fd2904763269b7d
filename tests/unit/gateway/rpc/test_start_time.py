"""When a call starts, as its metadata says it."""

from __future__ import annotations

from typing import Any

import pytest

from forebay.deadline import Deadline
from forebay.errors import InvalidRequest
from forebay_backends.ledger.operations.calls import Start
from forebay_gateway.rpc.start_time import check_delay, check_start, delay_s, read_start
from tests.unit.samples import METHODS, method, violated

NOW_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z
MINUTE = Start(60.0, is_relative=True)
FACTORIAL = METHODS["Factorial"]


def read(text: str, *, is_relative: bool = False) -> Start | None:
    return read_start(text, is_relative=is_relative, now_s=lambda: NOW_S)


def test_a_duration_counts_from_when_the_call_is_accepted() -> None:
    assert read("1h30m", is_relative=True) == Start(5400.0, is_relative=True)
    assert read("30d", is_relative=True) is not None
    assert read("0s", is_relative=True) is None, "it starts at once"


@pytest.mark.parametrize(
    "text", ["2027-01-15T08:01:00Z", "2027-01-15T09:01:00+01:00", "2027-01-15T08:01:00.000+00:00"]
)
def test_a_date_is_read_with_its_time_zone(text: str) -> None:
    start = read(text)
    assert start == Start(NOW_S + 60, is_relative=False)
    assert delay_s(start, lambda: NOW_S) == 60.0


def test_a_date_that_has_passed_is_now() -> None:
    assert read("2027-01-15T08:00:00Z") is None
    assert read("1970-01-01T00:00:00Z") is None
    assert delay_s(Start(5.0, is_relative=False), lambda: NOW_S) == 0.0


@pytest.mark.parametrize(
    ("text", "is_relative", "expected"),
    [
        ("soon", True, "expected a duration"),
        ("30d1ms", True, "at most 30 days later"),
        ("999999999w", True, "at most 30 days later"),
        ("2027-02-15T08:00:00Z", False, "at most 30 days later"),
        ("9999-12-31T23:59:59Z", False, "at most 30 days later"),
        ("2027-01-15", False, "expected a date in RFC 3339"),
        ("2027-01-15T08:00:00", False, "with its time zone"),
        ("1800000060", False, "expected a date in RFC 3339"),
        ("", False, "expected a date in RFC 3339"),
    ],
)
def test_what_is_no_start_is_refused(text: str, is_relative: bool, expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as refused:
        read(text, is_relative=is_relative)
    assert str(refused.value).startswith(f"is {text!r}; ")


def refused_start(name: str, call_id: str | None = "id", **changes: Any) -> str:
    has_tenant = bool(changes.pop("has_tenant", False))
    with pytest.raises(InvalidRequest) as refused:
        check_start(method(name, **changes), call_id, MINUTE, has_tenant=has_tenant)
    assert violated(refused.value) == ["forebay-start-after"]
    return refused.value.message


def test_only_calls_with_a_record_and_one_request_start_later() -> None:
    check_start(METHODS["Add"], "id", MINUTE, has_tenant=True)
    check_start(FACTORIAL, None, MINUTE, has_tenant=True)
    assert "needs forebay-call-id" in refused_start("Add", None)
    assert "for methods with one request" in refused_start("MatMul")


def test_a_deadline_before_the_start_is_refused_unless_the_call_is_detached() -> None:
    deadline = Deadline.after(30.0)
    with pytest.raises(InvalidRequest, match="after the call's deadline"):
        check_delay(FACTORIAL, MINUTE, deadline, detach=False, max_eta_s=1.0)
    check_delay(FACTORIAL, MINUTE, deadline, detach=True, max_eta_s=1.0)
    check_delay(FACTORIAL, MINUTE, Deadline.after(90.0), detach=False, max_eta_s=1.0)
    check_delay(FACTORIAL, MINUTE, Deadline.after(None), detach=False, max_eta_s=1.0)
