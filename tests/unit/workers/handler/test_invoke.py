"""Invoking a handler: the four kinds of methods, statuses that it sets, and stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import code_pb2

from forebay.checks import NoCheck
from forebay.compute.v1 import compute_pb2 as pb
from forebay.routes import Method
from forebay_workers.handler.invoke import invoke
from tests.unit.samples import METHODS, Attempt

UNARY, RESPONSES, BOTH = METHODS["Add"], METHODS["Factorial"], METHODS["MatMul"]
REQUESTS = replace(BOTH, server_streaming=False, response_class=pb.AddResponse)
CHUNKS = [pb.MatMulRequest(left_chunk=bytes(size)) for size in (1, 2, 3)]


def _add(request: pb.AddRequest, context: grpc.ServicerContext) -> pb.AddResponse:
    return pb.AddResponse(sum=request.x + request.y)


def _digits(request: pb.FactorialRequest, context: object) -> Iterator[pb.FactorialResponse]:
    for digit in range(request.n):
        yield pb.FactorialResponse(digits=str(digit))


def _total(requests: Iterator[pb.MatMulRequest], context: object) -> pb.AddResponse:
    return pb.AddResponse(sum=sum(len(request.left_chunk) for request in requests))


def _panels(requests: Iterator[pb.MatMulRequest], context: object) -> Iterator[pb.MatMulResponse]:
    for request in requests:
        yield pb.MatMulResponse(panel=pb.Panel(data=request.left_chunk))


@pytest.mark.parametrize(
    ("method", "handler", "requests", "responses"),
    [
        (UNARY, _add, [pb.AddRequest(x=4, y=6)], [pb.AddResponse(sum=10)]),
        (
            RESPONSES,
            _digits,
            [pb.FactorialRequest(n=2)],
            [pb.FactorialResponse(digits="0"), pb.FactorialResponse(digits="1")],
        ),
        (REQUESTS, _total, CHUNKS, [pb.AddResponse(sum=6)]),
        (
            BOTH,
            _panels,
            CHUNKS,
            [pb.MatMulResponse(panel=pb.Panel(data=bytes(size))) for size in (1, 2, 3)],
        ),
    ],
    ids=["unary-unary", "unary-stream", "stream-unary", "stream-stream"],
)
def test_each_kind_of_method_is_served(
    method: Method,
    handler: Callable[..., Any],
    requests: list[Message],
    responses: list[Message],
) -> None:
    attempt = Attempt()
    outcome = attempt.run(method, handler, *requests)
    assert outcome is not None
    assert outcome.code == 0
    assert attempt.emitted == responses


def test_a_stream_may_be_a_list() -> None:
    attempt = Attempt()
    attempt.run(RESPONSES, lambda r, c: [pb.FactorialResponse(digits="1")], pb.FactorialRequest())
    assert attempt.emitted == [pb.FactorialResponse(digits="1")]


def test_responses_go_out_before_later_requests_are_read() -> None:
    attempt = Attempt()

    def watched() -> Iterator[bytes]:
        for chunk in CHUNKS:
            seen.append(len(attempt.emitted))
            yield chunk.SerializeToString()

    seen: list[int] = []
    invoke(BOTH, _panels, watched(), attempt.context, NoCheck(), attempt.emit, 1 << 20)
    assert seen == [0, 1, 2]


def _aborts(request: Message, context: grpc.ServicerContext) -> pb.AddResponse:
    context.set_trailing_metadata((("x-shard", "3"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such order")


def _aborts_between(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
    yield pb.FactorialResponse(digits="1")
    context.abort(grpc.StatusCode.NOT_FOUND, "no such order")


def _sets_a_code(request: Message, context: grpc.ServicerContext) -> pb.AddResponse:
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("no such order")
    return pb.AddResponse(sum=1)


def _sets_a_code_at_the_end(request: Message, context: grpc.ServicerContext) -> Iterator[Message]:
    yield pb.FactorialResponse(digits="1")
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("no such order")


@pytest.mark.parametrize(
    ("method", "handler", "items"),
    [
        (UNARY, _aborts, 0),
        (UNARY, _sets_a_code, 0),
        (RESPONSES, _aborts_between, 1),
        (RESPONSES, _sets_a_code_at_the_end, 1),
    ],
)
def test_a_status_that_the_handler_sets_is_the_outcome_without_a_response(
    method: Method, handler: Callable[..., Any], items: int
) -> None:
    attempt = Attempt()
    outcome = attempt.run(method, handler, method.request_class())
    assert outcome is not None
    assert (outcome.code, outcome.message) == (code_pb2.NOT_FOUND, "no such order")
    assert len(attempt.emitted) == items


def test_trailing_metadata_is_in_the_outcome() -> None:
    outcome = Attempt().run(UNARY, _aborts, pb.AddRequest())
    assert outcome is not None
    (entry,) = outcome.trailing_metadata.entries
    assert (entry.key, entry.value) == ("x-shard", b"3")


def test_a_stopped_call_closes_its_handler_and_has_no_outcome() -> None:
    attempt = Attempt(stop_at=1)
    closed: list[int] = []

    def handler(request: Message, context: object) -> Iterator[Message]:
        try:
            yield from _digits(pb.FactorialRequest(n=9), context)
        finally:
            closed.append(len(attempt.emitted))

    assert attempt.run(RESPONSES, handler, pb.FactorialRequest()) is None
    assert closed == [1]


def test_callbacks_run_after_the_last_item() -> None:
    attempt = Attempt()
    seen: list[int] = []
    attempt.context.add_callback(lambda: seen.append(len(attempt.emitted)))
    attempt.run(RESPONSES, _digits, pb.FactorialRequest(n=3))
    assert seen == [3]
