"""Errors: families, and the conversion to and from a status."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from forebay import errors
from forebay.errors import FieldViolation, ForebayError
from forebay.errors.status import error_of, from_status, to_status
from forebay.v1 import errors_pb2

# Section 5 of the design: reason, status, and the family that says who must act.
DESIGN = {
    "INVALID_REQUEST": (code_pb2.INVALID_ARGUMENT, errors.CallerError),
    "CALL_ID_REUSED": (code_pb2.ALREADY_EXISTS, errors.CallerError),
    "CALL_UNKNOWN": (code_pb2.NOT_FOUND, errors.CallerError),
    "CALL_NOT_FINISHED": (code_pb2.FAILED_PRECONDITION, errors.CallerError),
    "ARGUMENTS_UNFIT": (code_pb2.INVALID_ARGUMENT, errors.CallerError),
    "METHOD_UNKNOWN": (code_pb2.UNIMPLEMENTED, errors.CallerError),
    "ITEMS_LOST": (code_pb2.DATA_LOSS, errors.BackendError),
    "QUEUE_FULL": (code_pb2.RESOURCE_EXHAUSTED, errors.CapacityError),
    "WAIT_EXCEEDS_DEADLINE": (code_pb2.RESOURCE_EXHAUSTED, errors.CapacityError),
    "UNAUTHENTICATED": (code_pb2.UNAUTHENTICATED, errors.CallerError),
    "PERMISSION_DENIED": (code_pb2.PERMISSION_DENIED, errors.CallerError),
    "QUOTA_EXCEEDED": (code_pb2.RESOURCE_EXHAUSTED, errors.CapacityError),
    "TOO_LARGE": (code_pb2.RESOURCE_EXHAUSTED, errors.CapacityError),
    "BACKEND_UNAVAILABLE": (code_pb2.UNAVAILABLE, errors.BackendError),
    "DRAINING": (code_pb2.UNAVAILABLE, errors.BackendError),
    "NO_WORKERS": (code_pb2.UNAVAILABLE, errors.BackendError),
    "QUEUE_WAIT": (code_pb2.UNAVAILABLE, errors.BackendError),
    "WORKER_LOST": (code_pb2.UNAVAILABLE, errors.BackendError),
    "TASK_UNKNOWN": (code_pb2.UNIMPLEMENTED, errors.BackendError),
    "TASK_UNANSWERED": (code_pb2.UNAVAILABLE, errors.BackendError),
    "RESULT_UNFIT": (code_pb2.INTERNAL, errors.Fault),
    "TASK_REJECTED": (code_pb2.ABORTED, errors.Fault),
    "TASK_RETRIES_EXCEEDED": (code_pb2.ABORTED, errors.Fault),
    "VERSION_MISMATCH": (code_pb2.FAILED_PRECONDITION, errors.BackendError),
    "HANDLER_ABORTED": (code_pb2.INTERNAL, errors.Fault),
    "HANDLER_FAILED": (code_pb2.INTERNAL, errors.Fault),
    "INTERNAL_FAULT": (code_pb2.INTERNAL, errors.Fault),
    "DEADLINE_EXCEEDED": (code_pb2.DEADLINE_EXCEEDED, errors.CallEnded),
    "TASK_TIME_LIMIT": (code_pb2.DEADLINE_EXCEEDED, errors.CallEnded),
    "TASK_REVOKED": (code_pb2.CANCELLED, errors.CallEnded),
    "CANCELLED": (code_pb2.CANCELLED, errors.CallEnded),
    "CALLER_IDLE": (code_pb2.DEADLINE_EXCEEDED, errors.CallEnded),
    "CALLER_STALLED": (code_pb2.ABORTED, errors.CallEnded),
}


def _below(root: type[ForebayError]) -> Iterator[type[ForebayError]]:
    for child in root.__subclasses__():
        yield child
        yield from _below(child)


CLASSES = sorted((cls for cls in _below(ForebayError) if cls.reason), key=lambda cls: cls.__name__)


def _details(status: status_pb2.Status, kind: type[Message]) -> list[Message]:
    found = []
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


def test_every_reason_of_the_contract_has_a_class_and_every_class_a_reason() -> None:
    prefix = "ERROR_REASON_"
    reasons = {name.removeprefix(prefix) for name in errors_pb2.ErrorReason.keys()}  # noqa: SIM118
    assert {cls.reason for cls in CLASSES} == reasons - {"UNSPECIFIED"}


@pytest.mark.parametrize("reason", DESIGN)
def test_a_reason_has_the_status_and_family_of_the_design(reason: str) -> None:
    code, family = DESIGN[reason]
    error = error_of(reason, "m")
    assert (error.code, error.reason) == (code, reason)
    assert isinstance(error, family)


def test_every_reason_is_in_the_designs_table() -> None:
    assert set(DESIGN) == {cls.reason for cls in CLASSES}


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_an_error_that_went_over_the_wire_is_of_its_class_again(cls: type[ForebayError]) -> None:
    sent = cls("what", violations=(FieldViolation("a.b", "bad"),), retry_after_s=1.5)
    status = status_pb2.Status.FromString(to_status(sent).SerializeToString())
    came = from_status(status.code, status.message, status)
    assert type(came) is cls
    assert (came.code, came.reason, came.message) == (sent.code, sent.reason, "what")
    assert (came.violations, came.retry_after_s) == (sent.violations, 1.5)
    assert to_status(came) == status


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_a_status_has_one_error_info_of_our_domain(cls: type[ForebayError]) -> None:
    infos = _details(to_status(cls("m")), error_details_pb2.ErrorInfo)
    assert infos == [error_details_pb2.ErrorInfo(reason=cls.reason, domain="forebay")]


def test_retry_info_and_bad_request_are_present_only_with_content() -> None:
    bare = to_status(errors.BackendUnavailable("m"))
    assert not _details(bare, error_details_pb2.RetryInfo)
    assert not _details(bare, error_details_pb2.BadRequest)
    at_once = to_status(errors.BackendUnavailable("m", retry_after_s=0.0))
    assert len(_details(at_once, error_details_pb2.RetryInfo)) == 1


def test_refusals_for_a_limit_have_a_quota_failure() -> None:
    with_quota = {
        cls for cls in CLASSES if _details(to_status(cls("m")), error_details_pb2.QuotaFailure)
    }
    assert with_quota == {errors.QueueFull, errors.QuotaExceeded}


@given(st.floats(0, 1e6))
def test_a_retry_delay_keeps_its_nanoseconds(delay_s: float) -> None:
    status = to_status(errors.Draining("m", retry_after_s=delay_s))
    came = from_status(status.code, status.message, status).retry_after_s
    assert came == pytest.approx(delay_s, rel=1e-12, abs=1e-9)


def test_the_same_reason_with_two_codes_gives_two_classes() -> None:
    assert type(error_of("INVALID_REQUEST", "m")) is errors.InvalidRequest
    narrow = error_of("INVALID_REQUEST", "m", code=code_pb2.OUT_OF_RANGE)
    assert type(narrow) is errors.OutOfRange


def test_a_reason_keeps_its_class_under_another_code() -> None:
    lost = error_of("WORKER_LOST", "m", code=code_pb2.ABORTED)
    assert (type(lost), lost.code) == (errors.WorkerLost, code_pb2.ABORTED)
    assert errors.WorkerLost.code == code_pb2.UNAVAILABLE


def test_a_handlers_own_reason_is_kept() -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="TENANT_CLOSED", domain="shop"))
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="m", details=[info])
    error = from_status(status.code, status.message, status)
    assert (type(error), error.reason, error.code) == (
        ForebayError,
        "TENANT_CLOSED",
        code_pb2.NOT_FOUND,
    )


@pytest.mark.parametrize(
    ("code", "cls"),
    [
        (code_pb2.INVALID_ARGUMENT, errors.CallerError),
        (code_pb2.RESOURCE_EXHAUSTED, errors.CapacityError),
        (code_pb2.UNAVAILABLE, errors.BackendError),
        (code_pb2.DEADLINE_EXCEEDED, errors.DeadlineExceeded),
        (code_pb2.CANCELLED, errors.Cancelled),
        (code_pb2.INTERNAL, errors.Fault),
        (code_pb2.PERMISSION_DENIED, ForebayError),
    ],
)
def test_a_status_without_details_is_judged_by_its_code(code: int, cls: type[ForebayError]) -> None:
    error = from_status(code, "m", None)
    assert (type(error), error.code, error.message) == (cls, code, "m")


def test_an_error_reads_as_status_reason_and_message() -> None:
    assert str(errors.OutOfRange("n is 9")) == "OUT_OF_RANGE/INVALID_REQUEST: n is 9"
    assert str(ForebayError("m")) == "UNKNOWN: m"
    assert error_of("", "m", code=99).code_name == "99"


def test_the_limit_that_was_reached_is_sent_to_the_caller() -> None:
    error = errors.QueueFull("full", retry_after_s=1.0, quota="queue add")
    there = from_status(error.code, error.message, to_status(error))
    assert isinstance(there, errors.QueueFull)
    assert (there.quota, there.retry_after_s) == ("queue add", 1.0)
