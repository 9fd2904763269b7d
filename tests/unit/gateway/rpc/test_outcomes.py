"""Mapping a call's ending to an error and trailing metadata."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from forebay import errors
from forebay.errors import FieldViolation
from forebay.errors.status import from_status, to_status
from forebay.metadata import from_pairs
from forebay.v1 import call_pb2
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.outcome import error_of_outcome, outcome_of_error
from forebay_gateway.rpc.outcomes import (
    error_of_ending,
    gateway_fault,
    timing_metadata,
    trailing_metadata,
)
from tests.unit.samples import ending


@pytest.mark.parametrize("outcome", [b"", call_pb2.Outcome(message="fine").SerializeToString()])
def test_a_call_that_succeeded_has_no_error(outcome: bytes) -> None:
    assert (
        error_of_ending(ending(state=State.SUCCEEDED, outcome=outcome), may_run_again=True) is None
    )


@pytest.mark.parametrize(
    ("state", "reason", "cls"),
    [
        (State.EXPIRED, "DEADLINE_EXCEEDED", errors.DeadlineExceeded),
        (State.CANCELLED, "CANCELLED", errors.Cancelled),
        (State.FAILED, "NO_WORKERS", errors.NoWorkers),
        (State.FAILED, "QUEUE_WAIT", errors.QueueWait),
        (State.FAILED, "WORKER_LOST", errors.WorkerLost),
        (State.FAILED, "BACKEND_UNAVAILABLE", errors.BackendUnavailable),
        (State.FAILED, "TOO_LARGE", errors.TooLarge),
    ],
)
def test_an_ending_by_the_ledger_maps_to_the_error_of_its_reason(
    state: State, reason: str, cls: type[errors.ForebayError]
) -> None:
    error = error_of_ending(ending(state=state, reason=reason), may_run_again=True)
    assert error is not None
    assert type(error) is cls
    assert error.message


def test_a_stored_ending_allows_no_retry() -> None:
    error = error_of_ending(
        ending(state=State.FAILED, reason="BACKEND_UNAVAILABLE"), may_run_again=True
    )
    assert error is not None
    assert error.retry_after_s is None


@pytest.mark.parametrize("reason", ["", "NO_SUCH_REASON"])
def test_an_ending_without_outcome_and_known_reason_is_an_internal_fault(reason: str) -> None:
    error = error_of_ending(ending(state=State.FAILED, reason=reason), may_run_again=True)
    assert type(error) is errors.InternalFault


def test_a_stored_error_keeps_all_its_details() -> None:
    written = errors.OutOfRange("n: too large", violations=(FieldViolation("n", "too large"),))
    outcome = outcome_of_error(written).SerializeToString()
    error = error_of_ending(
        ending(state=State.FAILED, reason="INVALID_REQUEST", outcome=outcome), may_run_again=True
    )
    assert error is not None
    assert type(error) is errors.OutOfRange
    assert (error.message, error.violations) == (written.message, written.violations)
    assert to_status(error) == to_status(written)


def test_an_aborted_handler_keeps_its_status_and_gets_our_reason() -> None:
    error = error_of_outcome(call_pb2.Outcome(code=code_pb2.NOT_FOUND, message="no such order"))
    assert error is not None
    assert type(error) is errors.HandlerAborted
    assert (error.code, error.message) == (code_pb2.NOT_FOUND, "no such order")
    status = to_status(error)
    assert (status.code, status.message) == (code_pb2.NOT_FOUND, "no such order")
    assert from_status(status.code, status.message, status).reason == "HANDLER_ABORTED"


def test_a_handlers_own_details_are_sent_unchanged() -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="SOLD_OUT", domain="shop"))
    status = status_pb2.Status(code=code_pb2.ABORTED, message="sold out", details=[info])
    error = error_of_outcome(
        call_pb2.Outcome(
            code=status.code, message=status.message, details=status.SerializeToString()
        )
    )
    assert error is not None
    assert (error.code, error.reason) == (code_pb2.ABORTED, "SOLD_OUT")
    assert to_status(error) == status


def test_trailing_metadata_has_the_timing_and_then_the_handlers_own() -> None:
    outcome = call_pb2.Outcome(trailing_metadata=from_pairs([("x-rows", "4"), ("x-bin", b"\xff")]))
    end = ending(queue_ms=12, run_ms=345, attempts=2, outcome=outcome.SerializeToString())
    assert tuple(trailing_metadata(end)) == (
        ("forebay-queue-ms", "12"),
        ("forebay-run-ms", "345"),
        ("forebay-attempts", "2"),
        ("x-rows", "4"),
        ("x-bin", b"\xff"),
    )


def test_trailing_metadata_has_the_timing_without_an_outcome_too() -> None:
    end = ending(state=State.EXPIRED, reason="DEADLINE_EXCEEDED", queue_ms=1, run_ms=0, attempts=1)
    assert tuple(trailing_metadata(end)) == timing_metadata(1, 0, 1)


def test_details_without_a_reason_get_one_and_stay() -> None:
    retry = any_pb2.Any()
    retry.Pack(error_details_pb2.RetryInfo())
    details = status_pb2.Status(code=9, message="no tea", details=[retry]).SerializeToString()
    error = error_of_outcome(call_pb2.Outcome(code=9, message="no tea", details=details))
    assert error is not None
    status = to_status(error)
    assert (status.code, status.message, error.reason) == (9, "no tea", "HANDLER_ABORTED")
    assert status.details[0] == retry
    assert status.details[1].Is(error_details_pb2.ErrorInfo.DESCRIPTOR)


@pytest.mark.parametrize(
    "details",
    [
        b"\xff\xff",
        status_pb2.Status(
            details=[
                any_pb2.Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
            ]
        ).SerializeToString(),
    ],
)
def test_garbage_for_details_does_not_hide_the_status(details: bytes) -> None:
    error = error_of_outcome(call_pb2.Outcome(code=5, message="gone", details=details))
    assert error is not None
    assert (error.code, error.message, error.reason) == (5, "gone", "HANDLER_ABORTED")


def test_a_reason_of_another_domain_maps_to_no_class_of_forebay() -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="CANCELLED", domain="elsewhere"))
    error = from_status(9, "no", status_pb2.Status(code=9, details=[info]))
    assert not isinstance(error, errors.Cancelled)
    assert error.reason == "CANCELLED"


def test_a_lost_call_with_effects_is_aborted() -> None:
    lost = ending(state=State.FAILED, reason="WORKER_LOST")
    for may_run_again, code in ((True, "UNAVAILABLE"), (False, "ABORTED")):
        error = error_of_ending(lost, may_run_again=may_run_again)
        assert isinstance(error, errors.WorkerLost)
        assert (error.code_name, error.reason) == (code, "WORKER_LOST")


def test_a_bug_of_the_gateway_is_internal_without_details() -> None:
    fault = gateway_fault()
    assert isinstance(fault, errors.InternalFault)
    assert (fault.code, fault.message) == (code_pb2.INTERNAL, "the gateway failed; see its log")
