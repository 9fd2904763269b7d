"""Methods that return an operation, driven by Google's own futures and by stubs."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.api_core import exceptions, operation
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

import forebay
from forebay.rpc_errors import of_rpc_error
from tests.e2e.known_calls import accepting_nothing, infos_of, metadata_of, new_id, refusal
from tests.harness import eventually
from tests.reports.running import SERVICE, TIMEOUT_S, Reports
from tests.reports.v1 import reports_pb2 as pb
from tests.reports.v1.reports_pb2_grpc import ReportServiceStub


def test_googles_future_gets_metadata_while_the_call_runs_and_then_the_result(
    reports: Reports, gate: Path
) -> None:
    future = reports.render(title="sales", pages=4, gate=str(gate))
    assert not future.done()
    eventually(lambda: future.metadata.page == 3 or future.done(), "it waits at the last page")
    assert (future.metadata.fraction, future.done()) == (0.75, False)
    ended = threading.Event()
    future.add_done_callback(lambda done: ended.set())
    gate.touch()
    assert future.result(timeout=TIMEOUT_S) == pb.Report(title="sales", pages=4)
    assert future.metadata == pb.RenderProgress(fraction=1, page=4)
    assert ended.wait(TIMEOUT_S)


def test_a_future_that_is_cancelled_cancels_the_call(reports: Reports, gate: Path) -> None:
    future = reports.render(title="sales", pages=1, gate=str(gate))
    name = future.operation.name
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(exceptions.Cancelled):
        future.result(timeout=TIMEOUT_S)
    assert reports.operations.get_operation(name).error.code == 1


def test_an_error_has_the_handlers_status_and_details(reports: Reports) -> None:
    future = reports.render(act="abort with details")
    with pytest.raises(exceptions.FailedPrecondition, match="no ink") as raised:
        future.result(timeout=TIMEOUT_S)
    assert ("NO_INK", "reports") in [(info.reason, info.domain) for info in infos_of(raised.value)]
    failed = reports.render(act="raise")
    assert "secret" not in str(failed.exception(timeout=TIMEOUT_S))


def test_a_handler_may_yield_its_response_or_only_return_it(reports: Reports) -> None:
    assert reports.render(pages=2, act="yield the report").result(timeout=TIMEOUT_S).pages == 2
    started = reports.stub.RenderOnce(pb.RenderRequest(title="ab", pages=3), timeout=TIMEOUT_S)
    future = operation.from_gapic(
        started, reports.operations, pb.Report, metadata_type=empty_pb2.Empty
    )
    assert future.result(timeout=TIMEOUT_S).text == "ababab"
    assert future.metadata == empty_pb2.Empty()


@pytest.mark.parametrize("act", ["nothing", "yield it twice", "yield it first", "wrong type"])
def test_a_handler_without_exactly_one_response_has_failed(reports: Reports, act: str) -> None:
    failed = reports.render(pages=1, act=act).exception(timeout=TIMEOUT_S)
    assert isinstance(failed, exceptions.InternalServerError)


def test_the_same_request_id_is_the_same_operation(reports: Reports, gate: Path) -> None:
    request = pb.RenderRequest(request_id=new_id(), title="a", pages=1, gate=str(gate))

    def call() -> tuple[Any, str]:
        answer, rpc = reports.stub.Render.with_call(request, timeout=TIMEOUT_S)
        return answer, str(dict(rpc.initial_metadata())["forebay-attached"])

    started, attached = call()
    assert (started.name, attached) == (f"operations/{request.request_id}", "new")
    assert not started.done
    again, attached = call()
    assert (again.name, again.done, attached) == (started.name, False, "running")
    gate.touch()
    eventually(lambda: call()[0].done, "it ends")
    ended, attached = call()
    report = pb.Report()
    assert attached == "finished"
    assert ended.response.Unpack(report)
    assert report.title == "a"
    request.title = "b"
    assert refusal(call)[:2] == ("ALREADY_EXISTS", "CALL_ID_REUSED")


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Render", pb.RenderRequest(request_id="no id")),
        ("Archive", pb.ArchiveRequest(request_id="archive-7")),
    ],
)
def test_a_bad_request_id_is_refused_with_its_field(
    reports: Reports, method: str, request_: Any
) -> None:
    with (
        redis.Redis(unix_socket_path=f"{reports.env['FOREBAY_DATA_DIR']}/ledger.sock") as server,
        accepting_nothing(server),
        pytest.raises(grpc.RpcError) as raised,
    ):
        getattr(reports.stub, method)(request_, timeout=TIMEOUT_S)
    error = of_rpc_error(raised.value)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert [violation.field for violation in error.violations] == ["request_id"]


def test_a_call_goes_on_without_its_caller_and_is_found_by_name(reports: Reports) -> None:
    with grpc.insecure_channel(reports.address) as channel:
        started = ReportServiceStub(channel).Render(
            pb.RenderRequest(title="alone", pages=3), timeout=TIMEOUT_S
        )
    request = operations_pb2.WaitOperationRequest(name=started.name)
    ended = reports.operations.operations_stub.WaitOperation(request, timeout=TIMEOUT_S)
    report = pb.Report()
    assert ended.response.Unpack(report)
    assert report == pb.Report(title="alone", pages=3)


def test_the_callers_deadline_is_not_the_calls(reports: Reports) -> None:
    started = reports.stub.Render(
        pb.RenderRequest(act="say who calls"), timeout=5, metadata=(("x-wish", "blue"),)
    )
    future = operation.from_gapic(started, reports.operations, pb.Report)
    report = future.result(timeout=TIMEOUT_S)
    assert report.title == "blue"
    assert float(report.text) > 1e6, "the handler has no deadline"


def test_an_attempt_ends_at_the_routes_run_time(reports: Reports) -> None:
    started = reports.stub.Archive(
        pb.ArchiveRequest(request_id=str(uuid.uuid4()), files=100, seconds=0.05), timeout=TIMEOUT_S
    )
    future = operation.from_gapic(
        started, reports.operations, pb.Archived, metadata_type=pb.Archived
    )
    with pytest.raises(exceptions.DeadlineExceeded):
        future.result(timeout=TIMEOUT_S)
    assert future.metadata.files > 0


def test_an_operation_that_no_worker_begins_fails(reports: Reports) -> None:
    started = reports.stub.Forgotten(pb.RenderRequest(), timeout=TIMEOUT_S)
    future = operation.from_gapic(started, reports.operations, pb.Report)
    with pytest.raises(exceptions.ServiceUnavailable, match="no live worker"):
        future.result(timeout=TIMEOUT_S)


def test_a_listing_has_the_declared_types_or_the_calls(reports: Reports) -> None:
    future = reports.render(title="listed", pages=1)
    future.result(timeout=TIMEOUT_S)
    (mine,) = [
        one
        for one in reports.operations.list_operations("operations", f"method = {SERVICE}.Render")
        if one.name == future.operation.name
    ]
    assert mine.metadata.Is(pb.RenderProgress.DESCRIPTOR)
    assert mine.response.Is(pb.Report.DESCRIPTOR)
    stub = reports.operations.operations_stub
    request = operations_pb2.GetOperationRequest(name=mine.name)
    view = (("forebay-operation-metadata", "call"),)
    assert metadata_of(stub.GetOperation(request, metadata=view)).method == f"{SERVICE}.Render"
    bad = (("forebay-operation-metadata", "none"),)
    assert refusal(lambda: stub.GetOperation(request, metadata=bad))[0] == "INVALID_ARGUMENT"


def test_a_resuming_channel_uses_the_request_id(reports: Reports) -> None:
    with forebay.channel(reports.address) as channel:
        stub = ReportServiceStub(channel)
        request = pb.RenderRequest(request_id=new_id(), title="a", pages=1)
        assert stub.Render(request).name == f"operations/{request.request_id}"
        assert stub.Render(pb.RenderRequest(pages=1)).name.startswith("operations/")
        raw = channel.unary_unary(f"/{SERVICE}/Render")
        again = operations_pb2.Operation.FromString(raw(request.SerializeToString()))
        assert again.name == f"operations/{request.request_id}"
        request.request_id = "no id ☃"
        assert refusal(lambda: stub.Render(request))[0] == "INVALID_ARGUMENT"
