"""The clients' tokens: fresh for each RPC and each retry, over TLS and on loopback without it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import grpc
import pytest

import forebay
import forebay.aio
from forebay.errors.status import STATUS_DETAILS_KEY, to_status
from forebay.metadata import ATTACHED, RESUME_FROM
from tests.certificates import Authority
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub

TIMEOUT_S = 20.0
FIXED = "fixed"
KINDS = ("Unary", "ServerStream", "ClientStream", "Bidi")


class Recorder(grpc.GenericRpcHandler):
    """Serves every method; keeps the `authorization` of each RPC, and fails as it is told."""

    def __init__(self) -> None:
        self.seen: list[list[str]] = []
        self.failures: list[grpc.StatusCode] = []
        self.expires_after: int | None = None
        """How many responses a token is good for; None: all."""
        self.resumed_from: list[Any] = []
        self._sent = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """A stream on the wire, whatever the stub takes it for."""
        return grpc.stream_stream_rpc_method_handler(self._serve)

    def _serve(self, requests: Any, context: Any) -> Iterator[bytes]:
        values = [value for key, value in context.invocation_metadata() if key == "authorization"]
        self.seen.append(values)
        for _ in requests:
            pass
        if self.failures:
            context.abort(self.failures.pop(0), "")
        if self.expires_after is not None:
            self.resumed_from.append(dict(context.invocation_metadata()).get(RESUME_FROM))
            context.send_initial_metadata(((ATTACHED, "new"),))
            yield from self._until_it_expires(context)
        yield EchoResponse(text="x").SerializeToString()

    def _until_it_expires(self, context: Any) -> Iterator[bytes]:
        """What is left of two responses; then the token expires."""
        for _ in range(self.expires_after or 0):
            if self._sent < 2:
                self._sent += 1
                yield EchoResponse(text=str(self._sent)).SerializeToString()
        if self._sent < 2:
            status = to_status(forebay.Unauthenticated("the token has expired"))
            details = ((STATUS_DETAILS_KEY, status.SerializeToString()),)
            context.set_trailing_metadata(details)
            context.abort(grpc.StatusCode.UNAUTHENTICATED, status.message)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture(params=["plain", "tls"])
def dialled(
    request: pytest.FixtureRequest, recorder: Recorder, authority: Authority
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The server's address, and the arguments for its credentials."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, [recorder])
        if request.param == "plain":
            port = server.add_insecure_port("127.0.0.1:0")
            arguments = {}
        else:
            shown = authority.issue("server", "127.0.0.1")
            pair = (shown.key.read_bytes(), shown.certificate.read_bytes())
            credentials = grpc.ssl_server_credentials([pair])
            port = server.add_secure_port("127.0.0.1:0", credentials)
            arguments = {"credentials": grpc.ssl_channel_credentials(authority.ca.read_bytes())}
        server.start()
        try:
            yield f"127.0.0.1:{port}", arguments
        finally:
            server.stop(0)


def numbered() -> Callable[[], str]:
    """A function that returns t0, t1, t2 …"""
    numbers = count()
    return lambda: f"t{next(numbers)}"


def call(stub: Any, kind: str, **options: Any) -> None:
    """Calls by any kind of method, and takes what it returns."""
    request: Any = EchoRequest(text="x", count=1)
    request = iter([request]) if kind in ("ClientStream", "Bidi") else request
    result = getattr(stub, kind)(request, timeout=TIMEOUT_S, **options)
    if kind in ("ServerStream", "Bidi"):
        list(result)


async def acall(stub: Any, kind: str, **options: Any) -> None:
    """As `call`, over asyncio."""
    request: Any = EchoRequest(text="x", count=1)
    request = iter([request]) if kind in ("ClientStream", "Bidi") else request
    result = getattr(stub, kind)(request, timeout=TIMEOUT_S, **options)
    if kind in ("ServerStream", "Bidi"):
        async for _ in result:
            pass
    else:
        await result


RETRIED = [grpc.StatusCode.UNAVAILABLE] * 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resume", [True, pytest.param(False, marks=pytest.mark.variant)])
def test_each_rpc_and_each_retry_has_a_fresh_token(
    dialled: tuple[str, Any], recorder: Recorder, kind: str, resume: bool
) -> None:
    address, arguments = dialled
    with forebay.channel(address, resume=resume, token=numbered(), **arguments) as channel:
        stub = EchoServiceStub(channel)
        recorder.failures[:] = RETRIED if resume else []
        call(stub, kind)
        call(stub, kind)
    expected = 4 if resume else 2
    assert recorder.seen == [[f"Bearer t{number}"] for number in range(expected)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("resume", [True, pytest.param(False, marks=pytest.mark.variant)])
async def test_also_with_asyncio_and_an_async_function(
    dialled: tuple[str, Any], recorder: Recorder, kind: str, resume: bool
) -> None:
    address, arguments = dialled
    fresh = numbered()

    async def token() -> str:
        await asyncio.sleep(0)
        return fresh()

    async with forebay.aio.channel(address, resume=resume, token=token, **arguments) as channel:
        stub = EchoServiceStub(channel)
        recorder.failures[:] = RETRIED if resume else []
        await acall(stub, kind)
        await acall(stub, kind)
    expected = 4 if resume else 2
    assert recorder.seen == [[f"Bearer t{number}"] for number in range(expected)]


async def test_asyncio_takes_a_string_and_a_function_that_is_not_async(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled
    for token in (FIXED, numbered()):
        async with forebay.aio.channel(address, token=token, **arguments) as channel:
            await acall(EchoServiceStub(channel), "Unary")
    assert recorder.seen == [["Bearer fixed"], ["Bearer t0"]]


def test_a_stream_whose_token_expires_goes_on_with_the_next(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled
    recorder.expires_after = 1
    with forebay.channel(address, token=numbered(), **arguments) as channel:
        stream = EchoServiceStub(channel).ServerStream(EchoRequest(count=1), timeout=TIMEOUT_S)
        assert [item.text for item in stream] == ["1", "2", "x"]
    assert recorder.seen == [["Bearer t0"], ["Bearer t1"]]
    assert recorder.resumed_from == [None, "1"]


async def test_a_stream_whose_token_expires_goes_on_with_asyncio(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled
    recorder.expires_after = 1
    async with forebay.aio.channel(address, token=numbered(), **arguments) as channel:
        stream = EchoServiceStub(channel).ServerStream(EchoRequest(count=1), timeout=TIMEOUT_S)
        assert [item.text async for item in stream] == ["1", "2", "x"]
    assert recorder.seen == [["Bearer t0"], ["Bearer t1"]]


def test_futures_have_tokens_and_an_own_authorization_wins(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled
    with forebay.channel(address, token=FIXED, **arguments) as channel:
        stub = EchoServiceStub(channel)
        stub.Unary.future(EchoRequest(text="x"), timeout=TIMEOUT_S).result(TIMEOUT_S)
        call(stub, "Unary", metadata=(("authorization", "Basic x"),))
    assert recorder.seen == [["Bearer fixed"], ["Basic x"]]


async def test_an_own_authorization_wins_with_asyncio(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled
    async with forebay.aio.channel(address, token=FIXED, **arguments) as channel:
        await acall(EchoServiceStub(channel), "Unary", metadata=(("authorization", "Basic x"),))
    assert recorder.seen == [["Basic x"]]


def broken() -> str:
    raise LookupError("a secret")


@pytest.mark.parametrize("kind", KINDS)
def test_a_function_that_raises_ends_the_call_without_an_rpc(
    dialled: tuple[str, Any], recorder: Recorder, kind: str
) -> None:
    address, arguments = dialled
    with (
        forebay.channel(address, token=broken, **arguments) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        call(EchoServiceStub(channel), kind)
    error: Any = raised.value
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED
    assert error.details() == "the function for the token raised LookupError"
    assert isinstance(error.__cause__, LookupError)
    assert recorder.seen == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_function_that_raises_ends_the_call_with_asyncio(
    dialled: tuple[str, Any], recorder: Recorder, kind: str
) -> None:
    address, arguments = dialled
    async with forebay.aio.channel(address, token=broken, **arguments) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await acall(EchoServiceStub(channel), kind)
    assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert raised.value.details() == "the function for the token raised LookupError"
    assert recorder.seen == []


def test_a_future_whose_function_raises_has_failed(dialled: tuple[str, Any]) -> None:
    address, arguments = dialled
    with forebay.channel(address, token=broken, **arguments) as channel:
        future: Any = EchoServiceStub(channel).Unary.future(EchoRequest(), timeout=TIMEOUT_S)
        assert future.exception(TIMEOUT_S).code() is grpc.StatusCode.UNAUTHENTICATED
        assert (future.done(), future.cancelled()) == (True, False)
        assert future.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_function_that_hangs_has_as_long_as_the_rpc(
    dialled: tuple[str, Any], recorder: Recorder
) -> None:
    address, arguments = dialled

    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    async with forebay.aio.channel(address, token=never, **arguments) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await EchoServiceStub(channel).Unary(EchoRequest(), timeout=0.2)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert recorder.seen == []


def test_the_functions_of_compute_service_raise_unauthenticated(dialled: tuple[str, Any]) -> None:
    address, arguments = dialled
    with (
        forebay.connect(address, token=broken, **arguments) as client,
        pytest.raises(forebay.Unauthenticated),
    ):
        client.add(1, 2)


def test_a_proxy_of_the_environment_sees_no_token(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A proxy of the environment would get plain text for loopback, too."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads, [recorder])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with forebay.channel(f"127.0.0.1:{port}", token=FIXED) as channel:
                call(EchoServiceStub(channel), "Unary")
        finally:
            server.stop(0)
    assert recorder.seen == [["Bearer fixed"]]
