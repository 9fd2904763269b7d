"""`celery -A tests.reports.worker worker -Q reports`: handlers that make operations."""

from __future__ import annotations

import time
from collections.abc import Generator
from pathlib import Path

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from forebay_workers import application
from tests.reports.v1 import reports_pb2, reports_pb2_grpc
from tests.reports.v1.reports_pb2 import (
    Archived,
    ArchiveRequest,
    RenderProgress,
    RenderRequest,
    Report,
)


class _Status(grpc.Status):
    def __init__(self, status: status_pb2.Status) -> None:
        self.code = grpc.StatusCode.FAILED_PRECONDITION
        self.details = status.message
        self.trailing_metadata = (("grpc-status-details-bin", status.SerializeToString()),)


def _no_ink() -> grpc.Status:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="NO_INK", domain="reports"))
    return _Status(status_pb2.Status(code=9, message="no ink", details=[info]))


NO_INK = _no_ink()


def act(request: RenderRequest, context: grpc.ServicerContext) -> None:
    """Does the request's `act`."""
    match request.act:
        case "abort with details":
            context.abort_with_status(NO_INK)
        case "raise":
            raise RuntimeError("a secret that must stay in the log")
        case "set code":
            context.set_code(grpc.StatusCode.OUT_OF_RANGE)
            context.set_details("too many pages")


def pass_gate(path: str, context: grpc.ServicerContext) -> None:
    """Waits until the file exists, or the call is over."""
    while path and context.is_active() and not Path(path).exists():
        time.sleep(0.01)


class ReportServicer(reports_pb2_grpc.ReportServiceServicer):
    """The handlers."""

    def Render(
        self, request: RenderRequest, context: grpc.ServicerContext
    ) -> Generator[RenderProgress | Report, None, Report | None]:
        act(request, context)
        for page in range(1, request.pages + 1):
            if page == request.pages:
                pass_gate(request.gate, context)
            yield RenderProgress(fraction=page / request.pages, page=page)
        report = Report(title=request.title, pages=request.pages)
        match request.act:
            case "yield the report":
                yield report
                return None
            case "yield it twice":
                yield report
                yield report
            case "yield it first":
                yield report
                yield RenderProgress()
            case "yield and return":
                yield report
                return Report(title="another")
            case "nothing":
                return None
            case "wrong type":
                yield request  # type: ignore[misc]
            case "say who calls":
                wishes = dict(context.invocation_metadata())
                return Report(title=str(wishes.get("x-wish")), text=str(context.time_remaining()))
        return report

    def RenderOnce(self, request: RenderRequest, context: grpc.ServicerContext) -> Report:
        act(request, context)
        pass_gate(request.gate, context)
        if request.act == "an operation":
            return reports_pb2.RenderProgress()  # type: ignore[return-value]
        return Report(title=request.title, text=request.title * request.pages)

    def Archive(
        self, request: ArchiveRequest, context: grpc.ServicerContext
    ) -> Generator[Archived, None, Archived]:
        for files in range(request.files):
            yield Archived(files=files)
            time.sleep(request.seconds)
        return Archived(files=request.files)

    Forgotten = Render


app = application(
    "reports", {reports_pb2.DESCRIPTOR.services_by_name["ReportService"]: ReportServicer()}
)
