"""`celery -A tests.reports.aio_worker worker -Q reports`: the same handlers, as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from typing import Any

import grpc

from forebay_workers import application
from tests.reports.running import REPORTS
from tests.reports.v1 import reports_pb2_grpc
from tests.reports.v1.reports_pb2 import (
    Archived,
    ArchiveRequest,
    RenderProgress,
    RenderRequest,
    Report,
)
from tests.reports.worker import NO_INK


async def act(request: RenderRequest, context: Any) -> None:
    """Does the request's `act`."""
    match request.act:
        case "abort with details":
            await context.abort_with_status(NO_INK)
        case "raise":
            raise RuntimeError("a secret that must stay in the log")
        case "set code":
            context.set_code(grpc.StatusCode.OUT_OF_RANGE)
            context.set_details("too many pages")


async def pass_gate(path: str) -> None:
    """Waits until the file exists."""
    while path and not Path(path).exists():  # noqa: ASYNC110, ASYNC240 - opened by another process
        await asyncio.sleep(0.01)


class AioReportServicer(reports_pb2_grpc.ReportServiceServicer):
    """The handlers of `tests.reports.worker`; a generator yields its report, if any, last."""

    async def Render(  # type: ignore[override]
        self, request: RenderRequest, context: Any
    ) -> AsyncIterator[Any]:
        await act(request, context)
        for page in range(1, request.pages + 1):
            if page == request.pages:
                await pass_gate(request.gate)
            yield RenderProgress(fraction=page / request.pages, page=page)
        report = Report(title=request.title, pages=request.pages)
        match request.act:
            case "yield it twice":
                yield report
                yield report
            case "yield it first":
                yield report
                yield RenderProgress()
            case "nothing":
                return
            case "wrong type":
                yield request
            case "say who calls":
                wishes = dict(context.invocation_metadata())
                left_s = context.time_remaining() or inf  # grpc.aio has None without a deadline
                yield Report(title=str(wishes.get("x-wish")), text=str(left_s))
            case _:
                yield report

    async def RenderOnce(self, request: RenderRequest, context: Any) -> Report:  # type: ignore[override]
        await act(request, context)
        await pass_gate(request.gate)
        return Report(title=request.title, text=request.title * request.pages)

    async def Archive(self, request: ArchiveRequest, context: Any) -> Archived:  # type: ignore[override]
        for files in range(request.files):
            await context.write(Archived(files=files))
            await asyncio.sleep(request.seconds)
        return Archived(files=request.files)

    Forgotten = Render  # type: ignore[assignment]


app = application("reports", {REPORTS: AioReportServicer()})
