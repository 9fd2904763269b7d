"""Invoking a handler: failures of handlers and of requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from celery.exceptions import WorkerShutdown, WorkerTerminate
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from forebay.checks import NoCheck
from forebay.compute.checks import FactorialCheck, MatMulCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import ForebayError, InvalidRequest
from forebay.errors.status import from_status
from forebay.routes import Method
from forebay_workers.handler.interrupted import Stopped
from forebay_workers.handler.invoke import invoke
from forebay_workers.handler.version_check import checking_versions
from tests.unit.samples import METHODS, Attempt

UNARY, RESPONSES, BOTH = METHODS["Add"], METHODS["Factorial"], METHODS["MatMul"]


def _failed(
    method: Method, handler: Callable[..., Any], *requests: Message, **more: Any
) -> ForebayError:
    """The error in the outcome."""
    outcome = Attempt().run(method, handler, *requests, **more)
    assert outcome is not None
    status = status_pb2.Status.FromString(outcome.details)
    assert (status.code, status.message) == (outcome.code, outcome.message)
    return from_status(status.code, status.message, status)


def _raises(request: Message, context: object) -> pb.AddResponse:
    raise RuntimeError("password in /etc/secret")


def _raises_between(request: Message, context: object) -> Iterator[Message]:
    yield pb.FactorialResponse(digits="1")
    raise RuntimeError("password in /etc/secret")


@pytest.mark.parametrize(
    ("method", "handler"),
    [
        (UNARY, _raises),
        (RESPONSES, _raises_between),
        (UNARY, lambda request, context: None),
        (UNARY, lambda request, context: pb.FactorialResponse()),
        (UNARY, lambda request, context: 10),
        (RESPONSES, lambda request, context: None),
        (RESPONSES, lambda request, context: ["1"]),
        (RESPONSES, lambda request, context: [None]),
        (UNARY, lambda: pb.AddResponse()),
    ],
)
def test_a_handler_that_fails_gives_a_fixed_message_and_a_logged_traceback(
    method: Method, handler: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        error = _failed(method, handler, method.request_class())
    assert (error.code_name, error.reason) == ("INTERNAL", "HANDLER_FAILED")
    assert error.message == "the handler failed; the worker's log has the traceback"
    (record,) = caplog.records
    assert "/call-1" in record.getMessage()
    assert record.exc_info is not None


class _Stop(BaseException):
    pass


_EXITS = [SystemExit(1), asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit(), _Stop()]


@pytest.mark.parametrize("error", _EXITS, ids=repr)
@pytest.mark.parametrize("method", [UNARY, RESPONSES, BOTH], ids=["unary", "responses", "both"])
def test_a_handler_that_raises_a_base_exception_fails_its_call_alone(
    method: Method, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(request: Message, context: object) -> Message:
        raise error

    def yielding(request: Message, context: object) -> Iterator[Message]:
        yield method.response_class()
        raise error

    handlers = [handler, yielding] if method.server_streaming else [handler]
    for one in handlers:
        caplog.clear()
        assert _failed(method, one, method.request_class()).reason == "HANDLER_FAILED"
        (record,) = caplog.records
        assert record.exc_info is not None


@pytest.mark.parametrize("end", [WorkerShutdown(0), WorkerTerminate(1)], ids=repr)
def test_the_end_of_the_worker_passes_through_a_handler(end: BaseException) -> None:
    def handler(request: Message, context: object) -> Message:
        raise end

    with pytest.raises(type(end)):
        Attempt().run(UNARY, handler, pb.AddRequest())


@pytest.mark.parametrize("details", ["no such order", ""])
def test_a_status_set_before_the_handler_raised_is_kept(details: str) -> None:
    def handler(request: Message, context: Any) -> Message:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        context.set_details(details)
        raise RuntimeError("password in /etc/secret")

    outcome = Attempt().run(UNARY, handler, pb.AddRequest())
    assert outcome is not None
    fixed = "the handler failed; the worker's log has the traceback"
    assert (outcome.code, outcome.message) == (code_pb2.NOT_FOUND, details or fixed)


def test_reading_requests_of_an_ended_call_raises_an_rpc_error() -> None:
    assert issubclass(Stopped, grpc.RpcError)


def test_a_handler_is_closed_when_its_response_can_not_be_sent() -> None:
    closed: list[bool] = []

    def handler(request: Message, context: object) -> Iterator[Any]:
        try:
            yield "no message"
        finally:
            closed.append(True)

    assert _failed(RESPONSES, handler, pb.FactorialRequest()).reason == "HANDLER_FAILED"
    assert closed == [True]


def test_a_request_that_fails_its_check_never_reaches_the_handler() -> None:
    error = _failed(RESPONSES, _raises, pb.FactorialRequest(n=9), check=FactorialCheck(max_n=8))
    assert (error.code_name, error.reason) == ("OUT_OF_RANGE", "INVALID_REQUEST")


def _reads(requests: Iterator[pb.MatMulRequest], context: object) -> Iterator[Message]:
    for _ in requests:
        yield pb.MatMulResponse()


def test_a_check_that_fails_on_a_later_request_ends_the_stream() -> None:
    random = pb.MatMulRequest(random=pb.RandomOperands(m=1, n=1))
    error = _failed(BOTH, _reads, random, pb.MatMulRequest(left_chunk=b"1"), check=MatMulCheck())
    assert isinstance(error, InvalidRequest)


def test_a_check_that_fails_at_the_end_ends_the_call() -> None:
    half = pb.MatMulRequest(
        operands=pb.Operands(left=pb.Matrix(rows=1, cols=1), right=pb.Matrix(rows=1, cols=1))
    )
    assert isinstance(_failed(BOTH, _reads, half, check=MatMulCheck()), InvalidRequest)


def test_a_request_that_only_the_gateway_can_parse_is_a_version_mismatch() -> None:
    attempt = Attempt()
    outcome = invoke(
        UNARY, _raises, [b"\xff"], attempt.context, NoCheck(), attempt.emit, max_message_bytes=99
    )
    assert outcome is not None
    assert outcome.code == code_pb2.FAILED_PRECONDITION
    assert "forebay.compute.v1.AddRequest" in outcome.message


@pytest.mark.parametrize(("limit", "reason"), [(12, "TOO_LARGE"), (13, None)])
def test_a_response_over_the_limit_is_too_large(limit: int, reason: str | None) -> None:
    attempt = Attempt()
    response = pb.FactorialResponse(digits="1" * 11)
    assert response.ByteSize() == 13
    outcome = attempt.run(
        RESPONSES, lambda request, context: [response], pb.FactorialRequest(), limit=limit
    )
    assert outcome is not None
    status = status_pb2.Status.FromString(outcome.details)
    assert (from_status(status.code, "", status).reason or None) == reason
    assert len(attempt.emitted) == (0 if reason else 1)


def test_a_forebay_error_that_a_handler_raises_is_a_handler_failure() -> None:
    def handler(request: Message, context: object) -> Message:
        raise InvalidRequest("from its own upstream call")

    assert _failed(UNARY, handler, pb.AddRequest()).reason == "HANDLER_FAILED"


def test_a_handler_that_cancels_its_call_ends_it_as_cancelled() -> None:
    def handler(request: Message, context: Any) -> Iterator[Message]:
        yield pb.FactorialResponse(digits="1")
        context.cancel()
        yield pb.FactorialResponse(digits="2")

    assert _failed(RESPONSES, handler, pb.FactorialRequest()).code_name == "CANCELLED"


def test_a_handler_that_raises_because_it_was_stopped_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def handler(request: Message, context: Any) -> Message:
        context.stop("CANCELLED")
        raise RuntimeError("nobody wants this any more")

    with caplog.at_level(logging.ERROR):
        assert Attempt().run(UNARY, handler, pb.AddRequest()) is None
    assert not caplog.records


@pytest.mark.parametrize("request_", [b"\xff", b"\x08\x03\x98\x06\x01"], ids=["other", "newer"])
def test_a_request_of_another_version_is_logged_with_what_to_do(
    request_: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    check = checking_versions(NoCheck(), RESPONSES, "us-" + "0" * 16)
    attempt = Attempt()
    handler = _raises_between
    outcome = invoke(RESPONSES, handler, [request_], attempt.context, check, attempt.emit, 1 << 20)
    assert outcome is not None
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == f"call {attempt.context.call} is not run: {outcome.message}"
    assert "deploy the same version of the service's protobuf" in outcome.message
