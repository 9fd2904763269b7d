"""Coroutine handlers of methods that return an operation: the same rules as for ordinary ones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from forebay.routes import Method
from forebay_workers.handler.operation_metadata import Metadata
from tests.reports.v1 import reports_pb2 as pb
from tests.unit.workers.coroutines.attempts import Attempt
from tests.unit.workers.handler.test_operation_metadata import (
    ARCHIVE,
    HALF,
    RENDER,
    REPORT,
    WHOLE,
    yields_and_returns,
)

Handler = Callable[[Any, Any], Any]


async def returns(request: object, context: object) -> pb.Report:
    return REPORT


async def yields_last(request: object, context: object) -> AsyncIterator[Any]:
    yield HALF
    yield WHOLE
    yield REPORT


async def writes_and_returns(request: object, context: Any) -> pb.Report:
    await context.write(HALF)
    await context.write(WHOLE)
    return REPORT


class Rewriting(grpc.aio.ServerInterceptor):
    """Returns a handler with another serializer, of either kind."""

    def __init__(self, *, streams: bool = False) -> None:
        self.streams = streams
        self.written: list[object] = []

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        inner = await continuation(details)
        make = (
            grpc.unary_stream_rpc_method_handler
            if self.streams
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            inner.unary_unary,
            request_deserializer=inner.request_deserializer,
            response_serializer=self.write,
        )

    def write(self, message: Any) -> bytes:
        self.written.append(message)
        return bytes(message.SerializeToString())


def ran(
    handler: Handler, method: Method = RENDER, *interceptors: Rewriting
) -> tuple[int, list[object], list[object]]:
    """The status, the metadata and the responses."""
    attempt = Attempt()
    outcome = attempt.run(method, handler, method.request_class(), interceptors=interceptors)
    assert outcome is not None
    emitted: list[Any] = [*attempt.emitted]
    metadata = [one.message for one in emitted if isinstance(one, Metadata)]
    return outcome.code, metadata, [one for one in emitted if not isinstance(one, Metadata)]


@pytest.mark.parametrize(
    ("handler", "metadata"),
    [
        (returns, []),
        (yields_last, [HALF, WHOLE]),
        (writes_and_returns, [HALF, WHOLE]),
        (yields_and_returns, [HALF, WHOLE]),
    ],
)
@pytest.mark.parametrize("streams", [None, False, True])
def test_metadata_is_yielded_or_written_before_the_response(
    handler: Handler, metadata: list[object], streams: bool | None
) -> None:
    around = [] if streams is None else [Rewriting(streams=streams)]
    assert ran(handler, RENDER, *around) == (0, metadata, [REPORT])
    assert [one.written for one in around] == [[*metadata, REPORT] for _ in around]


def test_where_both_types_are_the_same_a_coroutine_writes_metadata() -> None:
    async def counts(request: object, context: Any) -> pb.Archived:
        await context.write(pb.Archived(files=1))
        return pb.Archived(files=2)

    def counts_in_a_thread(request: object, context: object) -> Generator[Any, None, pb.Archived]:
        yield pb.Archived(files=1)
        return pb.Archived(files=2)

    for handler in (counts, counts_in_a_thread):
        assert ran(handler, ARCHIVE) == (0, [pb.Archived(files=1)], [pb.Archived(files=2)])


@pytest.mark.parametrize("messages", [(REPORT, HALF), (pb.RenderRequest(),), (HALF,), (None,)])
def test_without_exactly_one_response_the_handler_has_failed(messages: tuple[Any, ...]) -> None:
    async def yields(request: object, context: object) -> AsyncIterator[Any]:
        for message in messages:
            yield message

    async def writes(request: object, context: Any) -> None:
        for message in messages:
            await context.write(message)

    for handler in (yields, writes):
        code, _, responses = ran(handler)
        assert (code, responses) == (code_pb2.INTERNAL, [])
