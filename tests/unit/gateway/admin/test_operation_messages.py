"""Calls as operations: names, results, metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import empty_pb2, wrappers_pb2
from google.rpc import code_pb2

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors.status import from_status
from forebay.routes import Method, read_methods
from forebay.v1 import call_pb2, calls_pb2
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.inspection import Description, EarlierAttempt
from forebay_gateway.admin.operation_messages import operation_of, started_operation
from tests.reports.v1 import reports_pb2
from tests.unit.samples import CALL, METHODS

BY_NAME = {method.name: method for method in METHODS.values()}
FACTORIAL = METHODS["Factorial"].name

_RUNNING = Description(
    read_ms=1_767_225_601_000,
    state=State.RUNNING,
    reason="",
    method=FACTORIAL,
    queue="factorial",
    worker="w",
    attempt=2,
    created_ms=1_767_225_600_001,
    start_ms=0,
    queued_ms=1_767_225_600_002,
    begun_ms=1_767_225_600_003,
    finished_ms=0,
    deadline_ms=0,
    first=0,
    count=1,
    sent=10,
    outcome=b"",
    last_item=None,
    progress=None,
)


def running(**changes: Any) -> Description:
    return replace(_RUNNING, **changes)


def finished(state: State = State.SUCCEEDED, **changes: Any) -> Description:
    return replace(
        _RUNNING, state=state, worker="", **{"finished_ms": 1_767_225_600_004, **changes}
    )


def metadata(shown: Description) -> calls_pb2.CallMetadata:
    found = calls_pb2.CallMetadata()
    assert operation_of(CALL, "", shown, BY_NAME).metadata.Unpack(found)
    return found


def test_metadata_has_the_earlier_attempts() -> None:
    earlier = EarlierAttempt(1, "w1@host", 1_767_225_600_003, 1_767_225_600_500)
    [shown] = metadata(running(earlier=(earlier,))).earlier_attempts
    assert (shown.attempt, shown.worker) == (1, "w1@host")
    assert shown.begin_time.ToMilliseconds() == 1_767_225_600_003
    assert shown.lapse_time.ToMilliseconds() == 1_767_225_600_500


REPORTS = {
    method.name: method
    for method in read_methods([reports_pb2.DESCRIPTOR.services_by_name["ReportService"]])
}
RENDER = "tests.reports.v1.ReportService.Render"
HALF = reports_pb2.RenderProgress(fraction=0.5)
REPORT = reports_pb2.Report(title="sales")


def rendering(described: Description, **view: bool) -> Any:
    """The operation of a call of a method that declares its types."""
    changed = replace(described, method=RENDER, operation_metadata=HALF.SerializeToString())
    return operation_of(CALL, "", changed, REPORTS, **view)


@pytest.mark.parametrize("described", [running(), finished(State.FAILED, reason="WORKER_LOST")])
def test_declared_metadata_is_that_of_the_handler_also_after_the_end(
    described: Description,
) -> None:
    shown = reports_pb2.RenderProgress()
    assert rendering(described).metadata.Unpack(shown)
    assert shown == HALF


def test_a_declared_response_is_the_operations_response() -> None:
    shown = reports_pb2.Report()
    ended = finished(last_item=REPORT.SerializeToString())
    assert rendering(ended).response.Unpack(shown)
    assert shown == REPORT


def test_metadata_is_empty_before_the_handler_reports_some_and_left_out_if_too_large() -> None:
    types = REPORTS[RENDER].operation
    assert types is not None
    before = operation_of(CALL, "", running(method=RENDER), REPORTS)
    assert before == started_operation(CALL, "", types)
    assert before.metadata.Is(reports_pb2.RenderProgress.DESCRIPTOR)
    too_large = operation_of(CALL, "", running(method=RENDER, operation_metadata=None), REPORTS)
    assert not too_large.HasField("metadata")


@pytest.mark.parametrize(("described", "has_progress"), [(running(), True), (finished(), False)])
def test_call_metadata_can_be_had_of_every_operation(
    described: Description, has_progress: bool
) -> None:
    shown, progress = calls_pb2.CallMetadata(), reports_pb2.RenderProgress()
    assert rendering(described, with_call_metadata=True).metadata.Unpack(shown)
    assert (shown.method, shown.state) == (
        RENDER,
        call_pb2.CallState.Value(f"CALL_STATE_{described.state}"),
    )
    assert shown.HasField("progress") is has_progress
    assert not has_progress or (shown.progress.Unpack(progress) and progress == HALF)


def test_an_operation_names_its_tenant_and_is_named_for_the_caller() -> None:
    call = CallKey("call-1", "acme")
    own, others = (operation_of(call, caller, running(), BY_NAME) for caller in ("acme", "ops"))
    assert (own.name, others.name) == ("operations/call-1", "tenants/acme/operations/call-1")
    for operation in (own, others):
        shown = calls_pb2.CallMetadata()
        operation.metadata.Unpack(shown)
        assert shown.tenant == "acme"


def test_a_running_call_has_metadata_and_no_result() -> None:
    progress = pb.FactorialResponse(progress=pb.Progress(fraction=0.5))
    operation = operation_of(CALL, "", running(progress=progress.SerializeToString()), BY_NAME)
    assert (operation.name, operation.done) == ("operations/call-1", False)
    assert operation.WhichOneof("result") is None
    shown = metadata(running(progress=progress.SerializeToString()))
    assert (shown.method, shown.queue, shown.worker, shown.attempt) == (
        FACTORIAL,
        "factorial",
        "w",
        2,
    )
    assert shown.state == call_pb2.CALL_STATE_RUNNING
    assert (shown.item_count, shown.item_bytes) == (1, 10)
    assert shown.create_time.ToMilliseconds() == 1_767_225_600_001
    assert shown.begin_time.ToMilliseconds() == 1_767_225_600_003
    assert not shown.HasField("finish_time")
    assert not shown.HasField("deadline")
    came = pb.FactorialResponse()
    assert shown.progress.Unpack(came)
    assert came == progress


def test_a_call_that_succeeded_has_its_last_item_as_the_response() -> None:
    item = pb.FactorialResponse(digits="120").SerializeToString()
    operation = operation_of(CALL, "", finished(last_item=item), BY_NAME)
    came = pb.FactorialResponse()
    assert operation.done
    assert operation.response.Unpack(came)
    assert came.digits == "120"
    assert metadata(finished()).finish_time.ToMilliseconds() == 1_767_225_600_004


def test_a_stream_without_items_has_an_empty_response() -> None:
    operation = operation_of(CALL, "", finished(count=0), BY_NAME)
    assert operation.response.Is(empty_pb2.Empty.DESCRIPTOR)


def test_there_is_no_response_if_the_last_item_was_left_out() -> None:
    operation = operation_of(CALL, "", finished(), BY_NAME)
    assert operation.done
    assert operation.WhichOneof("result") is None


def test_the_response_of_a_method_that_is_not_served_is_bytes() -> None:
    operation = operation_of(
        CALL, "", finished(method="other.Service.Method", last_item=b"xyz"), {}
    )
    came = wrappers_pb2.BytesValue()
    assert operation.response.Unpack(came)
    assert came.value == b"xyz"


@pytest.mark.parametrize(
    ("state", "reason", "code"),
    [
        (State.CANCELLED, "CANCELLED", code_pb2.CANCELLED),
        (State.EXPIRED, "DEADLINE_EXCEEDED", code_pb2.DEADLINE_EXCEEDED),
        (State.FAILED, "NO_WORKERS", code_pb2.UNAVAILABLE),
    ],
)
def test_a_call_that_failed_has_the_status_that_its_caller_got(
    state: State, reason: str, code: int
) -> None:
    operation = operation_of(CALL, "", finished(state, reason=reason), BY_NAME)
    error = from_status(operation.error.code, operation.error.message, operation.error)
    assert (operation.done, error.code, error.reason) == (True, code, reason)
    assert metadata(finished(state, reason=reason)).reason == reason


@pytest.mark.parametrize(
    ("methods", "code"), [(BY_NAME, code_pb2.UNAVAILABLE), ({}, code_pb2.ABORTED)]
)
def test_a_lost_call_is_aborted_unless_its_method_may_run_again(
    methods: dict[str, Method], code: int
) -> None:
    shown = finished(State.FAILED, reason="WORKER_LOST")
    assert operation_of(CALL, "", shown, methods).error.code == code


def test_every_state_has_its_name_in_the_contract() -> None:
    for state in State:
        assert metadata(finished(state, reason="CANCELLED")).state == call_pb2.CallState.Value(
            f"CALL_STATE_{state}"
        )
