"""Methods that return an operation, driven by Google's asyncio futures."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions, operation_async
from google.api_core.operations_v1 import OperationsAsyncClient

from tests.e2e.known_calls import infos_of
from tests.reports.running import TIMEOUT_S, Reports
from tests.reports.v1 import reports_pb2 as pb
from tests.reports.v1.reports_pb2_grpc import ReportServiceStub


@dataclass(frozen=True)
class Asyncio:
    """Clients of the gateway for asyncio."""

    stub: Any
    operations: OperationsAsyncClient

    async def render(self, **fields: Any) -> Any:
        """Google's asyncio future for a report."""
        started = await self.stub.Render(pb.RenderRequest(**fields), timeout=TIMEOUT_S)
        return operation_async.from_gapic(
            started, self.operations, pb.Report, metadata_type=pb.RenderProgress
        )


@pytest.fixture
async def aio(reports: Reports) -> AsyncIterator[Asyncio]:
    async with grpc.aio.insecure_channel(reports.address) as channel:
        stub = ReportServiceStub(channel)  # type: ignore[arg-type]
        yield Asyncio(stub, OperationsAsyncClient(channel))


async def test_googles_asyncio_future_gets_metadata_while_the_call_runs_and_then_the_result(
    aio: Asyncio, gate: Path
) -> None:
    future = await aio.render(title="sales", pages=4, gate=str(gate))
    while future.metadata is None or future.metadata.page < 3:
        assert not await future.done(), "it waits at the last page"
    assert (future.metadata.fraction, await future.running()) == (0.75, True)
    with pytest.raises(asyncio.TimeoutError):
        await future.result(timeout=0.001)
    ended = asyncio.Event()
    future.add_done_callback(lambda done: ended.set())
    gate.touch()  # noqa: ASYNC240 - takes microseconds
    await asyncio.wait_for(ended.wait(), TIMEOUT_S)  # the callback alone makes it poll
    assert await future.done()
    assert await future.result() == pb.Report(title="sales", pages=4)
    assert await future.exception() is None
    assert future.metadata == pb.RenderProgress(fraction=1, page=4)
    assert not await future.cancel(), "it has ended"
    late = asyncio.Event()
    future.add_done_callback(lambda done: late.set())
    await asyncio.wait_for(late.wait(), TIMEOUT_S)


async def test_an_asyncio_future_that_is_cancelled_cancels_the_call(
    reports: Reports, aio: Asyncio, gate: Path
) -> None:
    future = await aio.render(title="sales", pages=1, gate=str(gate))
    ended = asyncio.Event()
    future.add_done_callback(lambda done: ended.set())
    assert await future.cancel()
    assert await future.cancelled()
    await asyncio.wait_for(ended.wait(), TIMEOUT_S)
    with pytest.raises(exceptions.GoogleAPICallError) as raised:
        await future.result(timeout=TIMEOUT_S)
    (status,) = raised.value.errors
    assert status.code == grpc.StatusCode.CANCELLED.value[0]
    assert reports.operations.get_operation(future.operation.name).error == status


async def test_an_asyncio_futures_error_has_the_handlers_status_and_details(aio: Asyncio) -> None:
    future = await aio.render(act="abort with details")
    with pytest.raises(exceptions.GoogleAPICallError, match="no ink") as raised:
        await future.result(timeout=TIMEOUT_S)
    assert ("NO_INK", "reports") in [(info.reason, info.domain) for info in infos_of(raised.value)]
    assert raised.value.errors[0].code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert await future.exception() is raised.value
    assert not await future.cancelled()
    failed = await (await aio.render(act="raise")).exception(timeout=TIMEOUT_S)
    assert failed.errors[0].code == grpc.StatusCode.INTERNAL.value[0]
    assert "HANDLER_FAILED" in [info.reason for info in infos_of(failed)]
    assert "secret" not in str(failed.errors)
