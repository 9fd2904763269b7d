"""The iterator over requests, when the call or the handler ends."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf.message import Message

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import InvalidRequest
from forebay_workers.handler.context import CallContext
from forebay_workers.handler.interrupted import Refused
from forebay_workers.handler.request_iterator import RequestIterator
from tests.unit.samples import context

REQUESTS: list[Message] = [pb.AddRequest(x=1), pb.AddRequest(x=2)]


def requests_of(call: CallContext) -> RequestIterator:
    return RequestIterator(iter(REQUESTS), call)


def test_requests_come_in_order_by_either_method() -> None:
    requests = requests_of(context())
    assert [requests.next(), next(requests)] == REQUESTS
    for _ in range(2):
        with pytest.raises(StopIteration):
            requests.next()


@pytest.mark.parametrize("end", [lambda call: call.stop("CANCELLED"), CallContext.cancel])
def test_reading_after_the_call_has_ended_raises_each_time(end: object) -> None:
    call = context()
    requests = requests_of(call)
    next(requests)
    end(call)  # type: ignore[operator]
    for _ in range(2):
        with pytest.raises(grpc.RpcError):
            next(requests)


def test_it_ends_when_the_handler_has_returned() -> None:
    call = context()
    requests = requests_of(call)
    call.finish()
    assert list(requests) == []


def test_a_refused_request_is_raised_each_time() -> None:
    def refused() -> Iterator[Message]:
        yield REQUESTS[0]
        raise Refused(InvalidRequest("too many"))

    requests = RequestIterator(refused(), context())
    next(requests)
    for _ in range(2):
        with pytest.raises(Refused, match="too many"):
            next(requests)
