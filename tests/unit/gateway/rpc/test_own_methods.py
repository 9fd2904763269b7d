"""Methods of the gateway's own services: requests that can't be parsed, and errors of theirs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn, cast

import grpc
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.errors import BackendUnavailable
from forebay.metadata import Pairs
from forebay_gateway.rpc.own_methods import OwnMethod, each_answered, server_streaming, unary


class Rpc:
    """An RPC that keeps its responses, and the status that it was ended with."""

    def __init__(self) -> None:
        self.code: grpc.StatusCode | None = None
        self.responses: list[bytes] = []

    async def write(self, message: bytes) -> None:
        self.responses.append(message)

    async def abort(self, code: grpc.StatusCode, message: str, trailing: Pairs) -> NoReturn:
        self.code = code
        raise grpc.aio.AbortError("Locally aborted.")


async def requests(*messages: bytes) -> AsyncIterator[bytes]:
    for message in messages:
        yield message


async def run(method: OwnMethod, *messages: bytes) -> Rpc:
    rpc = Rpc()
    response = await method.serve(requests(*messages), cast(Any, rpc))
    if response is not None:
        rpc.responses.append(response)
    return rpc


async def failure(method: OwnMethod, *messages: bytes) -> grpc.StatusCode | None:
    rpc = Rpc()
    with pytest.raises(grpc.aio.AbortError):
        await method.serve(requests(*messages), cast(Any, rpc))
    return rpc.code


async def double(request: pb.FactorialRequest, context: Any) -> pb.FactorialRequest:
    return pb.FactorialRequest(n=request.n * 2)


async def twice(request: pb.FactorialRequest, context: Any) -> AsyncIterator[pb.FactorialRequest]:
    yield request
    yield request


METHODS = {
    "unary": unary(pb.FactorialRequest, double),
    "server_streaming": server_streaming(pb.FactorialRequest, twice),
    "each_answered": each_answered(pb.FactorialRequest, lambda request, _: request),
}
THREE, SIX = b"\x08\x03", b"\x08\x06"


async def test_responses_are_returned_or_written() -> None:
    assert (await run(METHODS["unary"], THREE)).responses == [SIX]
    assert (await run(METHODS["server_streaming"], THREE)).responses == [THREE, THREE]
    assert (await run(METHODS["each_answered"], THREE, SIX)).responses == [THREE, SIX]


@pytest.mark.parametrize("name", METHODS)
async def test_a_malformed_request_is_an_invalid_argument(name: str) -> None:
    assert await failure(METHODS[name], b"\xff") is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("name", ["unary", "server_streaming"])
async def test_a_missing_request_is_an_invalid_argument(name: str) -> None:
    assert await failure(METHODS[name]) is grpc.StatusCode.INVALID_ARGUMENT


async def test_errors_become_statuses(caplog: pytest.LogCaptureFixture) -> None:
    async def unavailable(request: pb.FactorialRequest, context: Any) -> pb.FactorialRequest:
        raise BackendUnavailable("away")

    async def broken(request: pb.FactorialRequest, context: Any) -> pb.FactorialRequest:
        raise LookupError("a bug")

    async def aborted(request: pb.FactorialRequest, context: Any) -> pb.FactorialRequest:
        await context.abort(grpc.StatusCode.NOT_FOUND, "", ())
        raise AssertionError

    assert (
        await failure(unary(pb.FactorialRequest, unavailable), THREE) is grpc.StatusCode.UNAVAILABLE
    )
    assert await failure(unary(pb.FactorialRequest, aborted), THREE) is grpc.StatusCode.NOT_FOUND
    assert not caplog.records
    assert await failure(unary(pb.FactorialRequest, broken), THREE) is grpc.StatusCode.INTERNAL
    assert "a bug" in caplog.text
