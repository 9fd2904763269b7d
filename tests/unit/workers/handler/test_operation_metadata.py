"""Handlers of methods that return an operation: metadata, then one response."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from forebay.routes import Method, read_methods
from forebay_workers.handler.interceptors import intercepted
from forebay_workers.handler.operation_metadata import Metadata
from tests.reports.v1 import reports_pb2 as pb
from tests.unit.samples import Attempt

METHODS = {
    method.name.rpartition(".")[2]: method
    for method in read_methods([pb.DESCRIPTOR.services_by_name["ReportService"]])
}
RENDER, ARCHIVE = METHODS["Render"], METHODS["Archive"]
HALF, WHOLE = pb.RenderProgress(fraction=0.5), pb.RenderProgress(fraction=1)
REPORT = pb.Report(title="sales")
Handler = Callable[[Any, Any], Any]


def returns(request: object, context: object) -> pb.Report:
    return REPORT


def yields_and_returns(request: object, context: object) -> Generator[Any, None, pb.Report]:
    yield HALF
    yield WHOLE
    return REPORT


def yields_last(request: object, context: object) -> Iterator[Any]:
    yield HALF
    yield WHOLE
    yield REPORT


def ran(
    handler: Handler, method: Method = RENDER, limit: int = 1 << 20
) -> tuple[int, list[object], list[object]]:
    """The status, the metadata and the responses."""
    attempt = Attempt()
    outcome = attempt.run(method, handler, method.request_class(), limit=limit)
    assert outcome is not None
    metadata = [one.message for one in attempt.emitted if isinstance(one, Metadata)]
    return (
        outcome.code,
        [*metadata],
        [one for one in attempt.emitted if not isinstance(one, Metadata)],
    )


@pytest.mark.parametrize(
    ("handler", "metadata"),
    [(returns, []), (yields_and_returns, [HALF, WHOLE]), (yields_last, [HALF, WHOLE])],
)
def test_a_handler_returns_the_response_or_yields_metadata_before_it(
    handler: Handler, metadata: list[object]
) -> None:
    assert ran(handler) == (0, metadata, [REPORT])


def test_where_both_types_are_the_same_what_is_yielded_is_metadata() -> None:
    def counts(request: object, context: object) -> Generator[pb.Archived, None, pb.Archived]:
        yield pb.Archived(files=1)
        return pb.Archived(files=2)

    def yields_only(request: object, context: object) -> Iterator[pb.Archived]:
        yield pb.Archived(files=1)

    assert ran(counts, ARCHIVE) == (0, [pb.Archived(files=1)], [pb.Archived(files=2)])
    code, _, responses = ran(yields_only, ARCHIVE)
    assert (code, responses) == (code_pb2.INTERNAL, [])


def yields(*messages: Any, returned: Any = None) -> Handler:
    def handler(request: object, context: object) -> Generator[Any, None, Any]:
        yield from messages
        return returned

    return handler


@pytest.mark.parametrize(
    ("handler", "problem"),
    [
        (yields(REPORT, REPORT), "yielded more after its response"),
        (yields(REPORT, HALF), "yielded more after its response"),
        (yields(REPORT, returned=REPORT), "yielded its response and returned another"),
        (yields(pb.RenderRequest()), "neither tests.reports.v1.RenderProgress nor tests.reports"),
        (yields(None), "yielded NoneType, neither"),
        (yields(HALF), "returned or yielded NoneType, not tests.reports.v1.Report"),
        (lambda request, context: HALF, "RenderProgress, not tests.reports.v1.Report"),
        (lambda request, context: [REPORT], "list, not tests.reports.v1.Report"),
    ],
)
def test_without_exactly_one_response_the_handler_has_failed(
    handler: Handler, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    code, _, responses = ran(handler)
    assert (code, responses) == (code_pb2.INTERNAL, [])
    assert problem in caplog.text


def test_a_status_needs_no_response() -> None:
    def handler(request: object, context: grpc.ServicerContext) -> Iterator[Any]:
        yield HALF
        context.set_code(grpc.StatusCode.NOT_FOUND)

    assert ran(handler) == (code_pb2.NOT_FOUND, [HALF], [])


def test_metadata_is_as_large_as_any_message_may_be() -> None:
    assert ran(yields_last, limit=8)[0] == code_pb2.RESOURCE_EXHAUSTED


def test_a_stopped_handler_is_closed() -> None:
    closed = []

    def handler(request: object, context: object) -> Iterator[Any]:
        try:
            yield HALF
            yield WHOLE
        finally:
            closed.append(True)

    attempt = Attempt(stop_at=1)
    attempt.run(RENDER, handler, pb.RenderRequest())
    assert closed == [True]
    assert len(attempt.emitted) == 1


class Rewriting(grpc.ServerInterceptor):
    """Returns handlers of other kinds, and with other serializers."""

    def __init__(self, *, streams: bool = False, serializes: bool = True) -> None:
        self.streams, self.serializes = streams, serializes
        self.written: list[object] = []

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        inner = continuation(details)
        make = (
            grpc.unary_stream_rpc_method_handler
            if self.streams
            else grpc.unary_unary_rpc_method_handler
        )
        return make(
            inner.unary_unary,
            request_deserializer=inner.request_deserializer,
            response_serializer=self.write if self.serializes else inner.response_serializer,
        )

    def write(self, message: Any) -> bytes:
        self.written.append(message)
        return bytes(message.SerializeToString())


@pytest.mark.parametrize("handler", [returns, yields_and_returns, yields_last])
@pytest.mark.parametrize("serializes", [True, False])
def test_interceptors_see_a_unary_method_with_the_declared_messages(
    handler: Handler, serializes: bool
) -> None:
    interceptor = Rewriting(serializes=serializes)
    around = intercepted(RENDER, handler, [interceptor])
    assert ran(around) == ran(handler)
    _, metadata, responses = ran(handler)
    assert interceptor.written == ([*metadata, *responses] if serializes else [])


def test_an_interceptor_may_return_a_handler_that_streams() -> None:
    around = intercepted(RENDER, yields_and_returns, [Rewriting(streams=True)])
    assert ran(around) == ran(yields_and_returns)
