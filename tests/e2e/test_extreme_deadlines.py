"""The longest and the shortest deadlines that gRPC can express: no deadline, and a passed one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import grpc
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc
from google.protobuf.duration_pb2 import Duration

import forebay.aio
from forebay.metadata import CALL_ID
from tests.e2e.conftest import Site
from tests.e2e.known_calls import new_id
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.faults.raw_http2 import RawConnection, message, request_headers
from tests.harness import BIN, process

LONG = ["99999999H", "2562047H", "99999999M", "99999999S", "123456789S"]
SHORT = ["0n", "1n", "0S", "1u"]
LONG_S = [float("inf"), 1e300, 1e18, 1e10]
METHODS = ["Unary", "Quick", "ServerStream", "ClientStream", "Bidi", "Talk"]


@pytest.fixture
def address(site: Site) -> str:
    return site.targets(1)[0]


def answer(address: str, method: str, timeout: str) -> tuple[str, list[str]]:
    """The status, and the texts of the responses, of a call with this `grpc-timeout`."""
    request = EchoRequest(text="x", count=1).SerializeToString()
    path = f"/tests.echo.v1.EchoService/{method}".encode()
    with RawConnection.greeted(address) as connection:
        headers = request_headers(path, (b"grpc-timeout", timeout.encode()))
        for frame in connection.request(headers, message(request)):
            connection.send(frame)
        reply = connection.reply()
    responses = [EchoResponse.FromString(reply.data[5:])] if reply.data else []
    return reply.headers[b"grpc-status"].decode(), [one.text for one in responses]


@pytest.mark.parametrize("timeout", LONG)
@pytest.mark.parametrize("method", METHODS)
def test_a_long_deadline_is_as_none(address: str, method: str, timeout: str) -> None:
    assert answer(address, method, timeout) == ("0", ["x"])


@pytest.mark.parametrize("timeout", SHORT)
@pytest.mark.parametrize("method", METHODS)
def test_a_short_deadline_has_passed(address: str, method: str, timeout: str) -> None:
    assert answer(address, method, timeout) == ("4", [])


@pytest.mark.parametrize("timeout_s", LONG_S)
def test_clients_accept_long_timeouts(address: str, timeout_s: float) -> None:
    with forebay.channel([address]) as channel:
        stub = EchoServiceStub(channel)
        assert stub.Unary(EchoRequest(text="x"), timeout=timeout_s).text == "x"
        assert stub.Quick(EchoRequest(text="x"), timeout=timeout_s).text == "x"
        future = stub.Unary.future(EchoRequest(text="x"), timeout=timeout_s)
        assert future.result(timeout=timeout_s).text == "x"


@pytest.mark.parametrize("timeout_s", LONG_S)
def test_asyncio_clients_accept_long_timeouts(address: str, timeout_s: float) -> None:
    async def text() -> str:
        async with forebay.aio.channel([address]) as channel:
            response = await EchoServiceStub(channel).Unary(
                EchoRequest(text="x"), timeout=timeout_s
            )
            return str(response.text)

    assert asyncio.run(text()) == "x"


@pytest.fixture
def call_id(address: str) -> Iterator[str]:
    with grpc.insecure_channel(address) as channel:
        named = new_id()
        EchoServiceStub(channel).Unary(EchoRequest(text="x"), metadata=[(CALL_ID, named)])
        yield named


@pytest.mark.parametrize("seconds", [0, 1, 10**10, 315_576_000_000])
def test_a_wait_accepts_every_timeout(address: str, call_id: str, seconds: int) -> None:
    with grpc.insecure_channel(address) as channel:
        operations = operations_pb2_grpc.OperationsStub(channel)
        request = operations_pb2.WaitOperationRequest(
            name=f"operations/{call_id}", timeout=Duration(seconds=seconds)
        )
        assert operations.WaitOperation(request, timeout=30).done


@pytest.mark.parametrize("timeout", ["inf", "1e300"])
def test_commands_accept_long_timeouts(
    site: Site, address: str, call_id: str, timeout: str
) -> None:
    for command in (
        ["call", "Add", "x=1", "y=2", "--timeout", timeout],
        ["wait", call_id, "--timeout", timeout],
    ):
        arguments = [str(BIN / "forebay"), *command, "--target", address]
        with process(*arguments, env=site.env) as child:
            assert child.ended() == 0, child.output
