r"""gRPC's interop tests by their names, through the queue.

Each case is the one of that name in
https://github.com/grpc/grpc/blob/master/doc/interop-test-descriptions.md,
on a real gateway and worker. A case that differs because a queue is between gateway and handler
says so. The sizes are gRPC's. Cases about compression on demand, authentication, or the life of
a channel are left out.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import grpc
import pytest
import redis
from google.protobuf.empty_pb2 import Empty

from forebay_backends.ledger.keys import PARTITIONS, CallKey, partition_prefix
from tests.e2e.interop import (
    KINDS,
    AioCaller,
    Answer,
    Caller,
    Metadata,
    SyncCaller,
    durable,
    first_quick,
)
from tests.echo.running import echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse, EchoStatus
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually, short_folder

REQUEST_SIZES = [27182, 8, 1828, 45904]
RESPONSE_SIZES = [31415, 9, 2653, 58979]
MESSAGE_LIMIT = 4 << 20
SPECIAL = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n"
METADATA: Metadata = (
    ("x-grpc-test-echo-initial", "test_initial_metadata_value"),
    ("x-grpc-test-echo-trailing-bin", b"\xab\xab\xab"),
)
Kind = Callable[[], Metadata]
kinds = pytest.mark.parametrize("kind", KINDS)


@dataclass(frozen=True)
class System:
    """A running gateway and worker of EchoService."""

    address: str
    server: redis.Redis

    def state(self, metadata: Metadata) -> str:
        """The state of the call with that id; empty if there is none."""
        call = CallKey(str(dict(metadata)["forebay-call-id"]))
        return (self.server.hget(f"{call.partition}:call:{call}", "state") or b"").decode()

    def alive(self) -> set[bytes]:
        """The calls that have not ended."""
        prefixes = [partition_prefix(number) for number in range(PARTITIONS)]
        return {call for prefix in prefixes for call in self.server.zrange(f"{prefix}:due", 0, -1)}


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with short_folder() as folder:
        env = echo_environment(FOREBAY_DATA_DIR=str(folder / "data"), FOREBAY_LINGER_S="0.1")
        with echo_gateway(env) as (_, address), echo_worker(env, "prefork"):
            server = redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock")
            yield System(address, server)
            server.close()


@pytest.fixture(params=[SyncCaller, AioCaller], ids=["sync", "aio"])
def caller(system: System, request: pytest.FixtureRequest) -> Iterator[Caller]:
    caller = request.param(system.address)
    yield caller
    caller.close()


@pytest.fixture
def stub(system: System) -> Iterator[EchoServiceStub]:
    with grpc.insecure_channel(system.address) as channel:
        yield EchoServiceStub(channel)


@kinds
def test_empty_unary(caller: Caller, kind: Kind) -> None:
    assert caller.call("Nothing", [Empty()], kind()).response == Empty()


@kinds
def test_large_unary(caller: Caller, kind: Kind) -> None:
    request = EchoRequest(ballast=bytes(271828), padding=314159)
    assert len(caller.call("Quick", [request], kind()).response.padding) == 314159


@kinds
def test_large_unary_compressed(caller: Caller, kind: Kind) -> None:
    request = EchoRequest(ballast=bytes(271828), padding=314159)
    answer = caller.call("Quick", [request], kind(), compression=grpc.Compression.Gzip)
    assert len(answer.response.padding) == 314159


@kinds
@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_large_unary_up_to_the_message_limit(caller: Caller, method: str, kind: Kind) -> None:
    """The largest allowed messages, in both directions; one byte more is refused."""
    head = EchoRequest(ballast=bytes(MESSAGE_LIMIT - 100)).ByteSize() - (MESSAGE_LIMIT - 100)
    largest = EchoRequest(ballast=bytes(MESSAGE_LIMIT - head))
    assert largest.ByteSize() == MESSAGE_LIMIT
    assert caller.call(method, [largest], kind()).response == EchoResponse(text="")
    largest.ballast += b"\0"
    assert caller.call(method, [largest], kind()).code is grpc.StatusCode.RESOURCE_EXHAUSTED
    padding = MESSAGE_LIMIT - (EchoResponse(text="", padding=bytes(3 << 20)).ByteSize() - (3 << 20))
    answer = caller.call(method, [EchoRequest(padding=padding)], kind())
    assert answer.response.ByteSize() == MESSAGE_LIMIT
    answer = caller.call(method, [EchoRequest(padding=padding + 1)], kind())
    assert answer.code is grpc.StatusCode.RESOURCE_EXHAUSTED


@kinds
def test_client_streaming(caller: Caller, kind: Kind) -> None:
    requests = [EchoRequest(text="x" * size) for size in REQUEST_SIZES]
    response = caller.call("ClientStream", requests, kind()).response
    assert (len(response.text), response.index) == (sum(REQUEST_SIZES), 4)


@kinds
def test_server_streaming(caller: Caller, kind: Kind) -> None:
    answer = caller.call("ServerStream", [EchoRequest(sizes=RESPONSE_SIZES)], kind())
    assert [len(response.padding) for response in answer.responses] == RESPONSE_SIZES
    assert [response.index for response in answer.responses] == [0, 1, 2, 3]


@kinds
def test_ping_pong(caller: Caller, kind: Kind) -> None:
    """Sends each ping after the previous pong; the method is live."""
    requests = [
        EchoRequest(text=str(index), ballast=bytes(size), padding=back)
        for index, (size, back) in enumerate(zip(REQUEST_SIZES, RESPONSE_SIZES, strict=True))
    ]
    answer = caller.ping_pong("Talk", requests, kind())
    assert [(r.text, r.index, len(r.padding)) for r in answer.responses] == [
        (str(index), index, size) for index, size in enumerate(RESPONSE_SIZES)
    ]
    assert answer.code is grpc.StatusCode.OK


@kinds
def test_all_pings_then_all_pongs(caller: Caller, kind: Kind) -> None:
    """The method is not live: requests are stored, and the handler begins after the last."""
    requests = [EchoRequest(text=str(index)) for index in range(4)]
    answer = caller.call("Bidi", requests, kind())
    assert [(r.text, r.index) for r in answer.responses] == [(str(n), n) for n in range(4)]


@kinds
@pytest.mark.parametrize("method", ["Bidi", "Talk"])
def test_empty_stream(caller: Caller, method: str, kind: Kind) -> None:
    """An empty request stream gets no response; with an unknown id it attaches to no call."""
    answer = caller.call(method, [], kind())
    expected = grpc.StatusCode.NOT_FOUND if kind is durable else grpc.StatusCode.OK
    assert (answer.responses, answer.code) == ([], expected)


def test_cancel_after_begin(system: System, stub: EchoServiceStub) -> None:
    """Cancelled before the first request, so no call is accepted."""
    before, over = system.alive(), threading.Event()

    def requests() -> Iterator[EchoRequest]:
        over.wait(30)
        yield from ()

    call = stub.ClientStream.future(requests(), timeout=30)
    call.cancel()
    over.set()
    assert call.code() is grpc.StatusCode.CANCELLED
    assert system.alive() == before


async def test_cancel_after_begin_of_asyncio(system: System) -> None:
    before = system.alive()
    async with grpc.aio.insecure_channel(system.address) as channel:
        call = EchoServiceStub(channel).ClientStream(timeout=30)
        await call.wait_for_connection()
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
    assert system.alive() == before


@kinds
def test_cancel_after_begin_while_requests_are_spooled(
    system: System, stub: EchoServiceStub, kind: Kind
) -> None:
    """Cancelled between two requests: the accepted call ends as CANCELLED and does not run."""
    before = system.alive()

    def requests() -> Iterator[EchoRequest]:
        yield EchoRequest(text="first")
        eventually(lambda: system.alive() > before, "the call is accepted")
        call.cancel()

    metadata = kind()
    call = stub.ClientStream.future(requests(), timeout=30, metadata=metadata)
    with pytest.raises(grpc.FutureCancelledError):
        call.result()
    eventually(lambda: system.alive() == before, "the call has ended")
    if metadata:
        assert system.state(metadata) == "CANCELLED"


@kinds
def test_cancel_after_first_response(system: System, stub: EchoServiceStub, kind: Kind) -> None:
    before, metadata = system.alive(), kind()
    requests = [EchoRequest(padding=31415), EchoRequest(act="sleep", seconds=60)]
    call = stub.Bidi(iter(requests), timeout=30, metadata=metadata)
    assert len(next(call).padding) == 31415
    call.cancel()
    assert call.code() is grpc.StatusCode.CANCELLED
    eventually(lambda: system.alive() == before, "the call has ended")
    if metadata:
        assert system.state(metadata) == "CANCELLED"


@kinds
async def test_cancel_after_first_response_of_asyncio(system: System, kind: Kind) -> None:
    before = system.alive()
    async with grpc.aio.insecure_channel(system.address) as channel:
        requests = [EchoRequest(padding=31415), EchoRequest(act="sleep", seconds=60)]
        call = EchoServiceStub(channel).Bidi(iter(requests), timeout=30, metadata=kind())
        assert len((await call.read()).padding) == 31415
        call.cancel()
        assert await call.code() is grpc.StatusCode.CANCELLED
    eventually(lambda: system.alive() == before, "the call has ended")


@kinds
@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream", "Bidi"])
def test_timeout_on_sleeping_server(
    system: System, caller: Caller, method: str, kind: Kind
) -> None:
    """The handler sleeps past the deadline; the caller gets the status, and the slot is freed."""
    before = system.alive()
    request = EchoRequest(act="sleep", seconds=60, count=1)
    answer = caller.call(method, [request], kind(), timeout=0.3)
    assert (answer.responses, answer.code) == ([], grpc.StatusCode.DEADLINE_EXCEEDED)
    eventually(lambda: system.alive() == before, "the call has ended")
    assert caller.call("Unary", [EchoRequest(text="next")]).response.text == "next"


@kinds
@pytest.mark.parametrize("method", ["Unary", "Quick", "ClientStream", "ServerStream", "Bidi"])
@pytest.mark.parametrize("message", ["test status message", SPECIAL, ""], ids=["", "special", "no"])
def test_status_code_and_message(caller: Caller, method: str, message: str, kind: Kind) -> None:
    """Code 2 (UNKNOWN), as in gRPC's test. The special message is special_status_message."""
    request = EchoRequest(status=EchoStatus(code=2, message=message))
    answer = caller.call(method, [request], kind())
    assert (answer.code, answer.details) == (grpc.StatusCode.UNKNOWN, message)


def test_status_code_and_message_of_each_code(stub: EchoServiceStub) -> None:
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        request = EchoRequest(status=EchoStatus(code=code.value[0], message=SPECIAL))
        for method in (stub.Unary, stub.Quick):
            with pytest.raises(grpc.RpcError) as raised:
                method(request, timeout=30)
            assert (raised.value.code(), raised.value.details()) == (code, SPECIAL)


@pytest.mark.parametrize("method", ["ServerStream", "Bidi"])
def test_status_code_and_message_after_responses(caller: Caller, method: str) -> None:
    """Responses before a failure arrive before the status."""
    request = EchoRequest(text="x", count=1, status=EchoStatus(code=2, message=SPECIAL))
    answer = caller.call(method, [request])
    assert [response.text for response in answer.responses] == ["x"]
    assert (answer.code, answer.details) == (grpc.StatusCode.UNKNOWN, SPECIAL)


@kinds
@pytest.mark.parametrize("method", ["Unary", "Quick", "Bidi"])
def test_custom_metadata(caller: Caller, method: str, kind: Kind) -> None:
    """Text returns as initial metadata, bytes as trailing metadata; the route lists both keys."""

    def call() -> Answer:
        answer = caller.call(method, [EchoRequest(padding=314159)], kind() + METADATA)
        assert len(answer.response.padding) == 314159
        assert answer.trailing["x-grpc-test-echo-trailing-bin"] == b"\xab\xab\xab"
        return answer

    answer = first_quick(call, lambda answer: answer.trailing)
    assert answer.initial["x-grpc-test-echo-initial"] == "test_initial_metadata_value"


def test_unimplemented_method(caller: Caller) -> None:
    """A method of a service that is served, without a route."""
    answer = caller.call("Unrouted", [EchoRequest()])
    assert answer.code is grpc.StatusCode.UNIMPLEMENTED


def test_unimplemented_service(system: System) -> None:
    with grpc.insecure_channel(system.address) as channel:
        for path in ("/grpc.testing.UnimplementedService/UnimplementedCall", "/no.Service/No"):
            with pytest.raises(grpc.RpcError) as raised:
                channel.unary_unary(path)(b"", timeout=30)
            assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED
