"""A full gateway, a full queue, and callers that share both."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from forebay.errors import ForebayError, QueueFull
from forebay.rpc_errors import of_rpc_error
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import environment, eventually, forebay_gateway, process, redis_server

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 30.0
ASLEEP = EchoRequest(act="sleep", seconds=20, count=1)
MAX_CALLS = 18
ONE_ALONE = 16
"""The number of permits that a single caller gets."""
FIRST_REQUEST_S = 8.0


class Caller:
    """A client with its own connection: on loopback, each connection is a caller."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(
            address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self.stub = EchoServiceStub(self.channel)
        self.calls: list[Any] = []

    def flood(self, open_call: Callable[[], Any]) -> ForebayError:
        """Opens calls until one is refused; returns its error."""
        while True:
            call = open_call()
            refusal = refused(call)
            if refusal is not None:
                return refusal
            self.calls.append(call)
            assert len(self.calls) < 1000

    def leave(self) -> None:
        """Cancels all calls."""
        for call in self.calls:
            call.cancel()
        self.calls.clear()


def refused(call: Any) -> ForebayError | None:
    """The error of a refused durable call; None if it was accepted."""
    if "forebay-attached" in dict(call.initial_metadata()):
        return None
    return error_of(lambda: list(call))


def error_of(call: Callable[[], object]) -> ForebayError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return of_rpc_error(raised.value)


@contextlib.contextmanager
def gateway(url: str, **settings: str) -> Iterator[str]:
    """A gateway of EchoService; its address."""
    env = environment(
        FOREBAY_LEDGER_URL=url, FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]', **settings
    )
    with forebay_gateway(env=env, cwd=ROOT) as (_, address):
        yield address


@contextlib.contextmanager
def echo_worker(url: str, slots: int) -> Iterator[None]:
    """A worker of EchoService."""
    with process(
        *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
        *["--pool", "threads", "--concurrency", str(slots)],
        *["--without-mingle", "--without-gossip"],
        env=environment(FOREBAY_LEDGER_URL=url),
        cwd=ROOT,
    ) as worker:
        worker.wait_for(r" ready\.")
        yield


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(scope="module")
def small(server: str) -> Iterator[str]:
    """A gateway with a low limit on calls, and a worker; its address."""
    limits = {
        "FOREBAY_MAX_CALLS": str(MAX_CALLS),
        "FOREBAY_FIRST_REQUEST_S": str(FIRST_REQUEST_S),
        "FOREBAY_MAX_MESSAGE_BYTES": "1000000",
        "FOREBAY_MAX_HELD_BYTES": "9000000",
        "FOREBAY_LINGER_S": "0",
    }
    with gateway(server, **limits) as address, echo_worker(server, slots=MAX_CALLS):
        yield address


@pytest.fixture
def callers() -> Iterator[list[Caller]]:
    """Callers that disconnect at the end."""
    made: list[Caller] = []
    yield made
    for caller in made:
        caller.leave()
        caller.channel.close()


@pytest.fixture
def flooder(small: str, callers: list[Caller]) -> Caller:
    callers.append(Caller(small))
    return callers[-1]


@pytest.fixture
def other(small: str, callers: list[Caller]) -> Caller:
    callers.append(Caller(small))
    return callers[-1]


def has_all_places(caller: Caller, open_call: Callable[[], Any]) -> None:
    """Fails unless one caller can get its full share again: no permit may be lost."""

    def all_are_there() -> bool:
        caller.leave()
        caller.flood(open_call)
        return len(caller.calls) == ONE_ALONE

    eventually(all_are_there, "all permits are released")


def test_a_flooding_caller_is_refused_and_another_is_admitted(
    flooder: Caller, other: Caller
) -> None:
    refusal = flooder.flood(lambda: flooder.stub.ServerStream(ASLEEP))
    assert len(flooder.calls) == ONE_ALONE
    assert isinstance(refusal, QueueFull)
    assert refusal.code_name == "RESOURCE_EXHAUSTED"
    assert refusal.quota == "calls in flight"
    assert 0 < (refusal.retry_after_s or 0) <= 60
    assert other.stub.Unary(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"
    assert other.stub.Quick(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"
    assert error_of(lambda: flooder.stub.Quick(EchoRequest())).reason == "QUEUE_FULL"


def test_permits_are_released_however_calls_end(flooder: Caller) -> None:
    stub = flooder.stub
    for _ in range(MAX_CALLS):
        stub.Unary(EchoRequest(), timeout=TIMEOUT_S)
        error_of(lambda: stub.Unary(EchoRequest(act="raise"), timeout=TIMEOUT_S))
        error_of(lambda: stub.Quick(EchoRequest(act="abort"), timeout=TIMEOUT_S))
        error_of(lambda: stub.Unary(ASLEEP, timeout=0.1))
        error_of(lambda: stub.Quick(EchoRequest(), metadata=(("forebay-nonsense", "1"),)))
        stub.ServerStream(ASLEEP).cancel()
        stub.Bidi(iter([EchoRequest()])).cancel()
    has_all_places(flooder, lambda: stub.ServerStream(ASLEEP))


@pytest.mark.parametrize("method", ["Unary", "Bidi"])
def test_a_call_that_sends_nothing_counts_and_is_ended(
    flooder: Caller, other: Caller, method: str
) -> None:
    hold = threading.Event()

    def silence() -> Iterator[bytes]:
        hold.wait(TIMEOUT_S)
        yield b""

    call = flooder.channel.stream_stream(f"/tests.echo.v1.EchoService/{method}")
    silent = [call(silence()) for _ in range(ONE_ALONE)]

    def is_full() -> bool:
        probe = flooder.stub.ServerStream(ASLEEP)
        refusal = refused(probe)
        probe.cancel()
        if refusal is None:  # one was refused, because an earlier call had not ended yet
            silent.append(call(silence()))
        return refusal is not None and refusal.reason == "QUEUE_FULL"

    try:
        eventually(is_full, "all of them count", FIRST_REQUEST_S)
        assert other.stub.Unary(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"
        ends = [error_of(lambda one=one: list(one)) for one in silent]
    finally:
        hold.set()
    ended = [end for end in ends if end.reason != "QUEUE_FULL"]
    assert len(ended) >= ONE_ALONE - 1
    assert {(end.code_name, end.reason) for end in ended} == {("DEADLINE_EXCEEDED",) * 2}
    assert f"no request came within {FIRST_REQUEST_S:g} s" in ended[0].message
    assert flooder.stub.Unary(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"


def test_a_unary_call_without_a_request_is_refused(other: Caller) -> None:
    call = other.channel.stream_stream("/tests.echo.v1.EchoService/Unary")
    error = error_of(lambda: list(call(iter([]), timeout=TIMEOUT_S)))
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")


def test_requests_that_are_held_count_by_their_bytes(flooder: Caller, other: Caller) -> None:
    large = EchoRequest(text="x" * 900_000, act="sleep", seconds=20, count=1)
    refusal = flooder.flood(lambda: flooder.stub.ServerStream(large))
    assert isinstance(refusal, QueueFull)
    assert refusal.quota == "bytes held"
    assert 5 <= len(flooder.calls) <= 9
    assert other.stub.Unary(EchoRequest(text="hello"), timeout=TIMEOUT_S).text == "hello"
    has_all_places(flooder, lambda: flooder.stub.ServerStream(ASLEEP))


def test_a_stream_whose_next_request_finds_no_room_leaves_no_record(
    flooder: Caller, server: str
) -> None:
    large = EchoRequest(text="x" * 900_000, act="sleep", seconds=20, count=1)
    send, sent = threading.Event(), threading.Event()

    def requests() -> Iterator[EchoRequest]:
        yield EchoRequest(text="first")
        sent.set()
        send.wait(TIMEOUT_S)
        yield large

    metadata = (("forebay-call-id", "no-room"),)
    upload = flooder.stub.Bidi(requests(), metadata=metadata)
    with redis.Redis.from_url(server) as ledger:
        eventually(lambda: ledger.keys("*:call:/no-room") != [], "the call is known")
        flooder.flood(lambda: flooder.stub.ServerStream(large))
        send.set()
        error = error_of(lambda: list(upload))
        assert error.reason == "QUEUE_FULL"
        assert error.retry_after_s is not None
        assert ledger.keys("*:call:/no-room") == []


@pytest.fixture
def alone(callers: list[Caller]) -> Iterator[Caller]:
    """The caller of a gateway whose queues hold 60 calls, without a worker."""
    settings = {"FOREBAY_MAX_QUEUE_DEPTH": "60", "FOREBAY_QUEUE_WAIT_S": "600"}
    with redis_server() as url, gateway(url, **settings) as address:
        callers.append(Caller(address))
        yield callers[-1]
        callers[-1].leave()  # otherwise the gateway would wait for its calls


def test_a_full_queue_refuses_new_calls_and_lets_attach(alone: Caller) -> None:
    caller = alone
    named = (("forebay-call-id", "in-line"),)
    caller.calls.append(caller.stub.ServerStream(ASLEEP, metadata=named))
    assert refused(caller.calls[0]) is None
    refusal = caller.flood(lambda: caller.stub.ServerStream(ASLEEP))
    assert 45 <= len(caller.calls) <= 60
    assert isinstance(refusal, QueueFull)
    assert refusal.quota == "queue echo"
    assert 0 < (refusal.retry_after_s or 0) <= 60
    caller.calls.append(caller.stub.ServerStream(ASLEEP, metadata=named))
    assert dict(caller.calls[-1].initial_metadata())["forebay-attached"] == "running"
    new = (("forebay-call-id", "too-late"),)
    assert error_of(lambda: caller.stub.Unary(ASLEEP, metadata=new)).reason == "QUEUE_FULL"
    assert error_of(lambda: caller.stub.Quick(EchoRequest())).reason == "QUEUE_FULL"


@pytest.mark.variant
def test_a_deadline_behind_many_seconds_of_work_is_refused_at_once(callers: list[Caller]) -> None:
    with redis_server() as url, gateway(url) as address, echo_worker(url, slots=2):
        caller = Caller(address)
        callers.append(caller)
        half_a_second = EchoRequest(act="sleep", seconds=0.5)
        calls = [caller.stub.Unary.future(half_a_second, timeout=100) for _ in range(100)]
        errors: list[ForebayError] = []

        def is_refused() -> bool:
            try:  # the first may still arrive before the others
                caller.stub.Unary(EchoRequest(), timeout=1.0)
            except grpc.RpcError as error:
                errors.append(of_rpc_error(error))
            return bool(errors) and errors[-1].reason == "WAIT_EXCEEDS_DEADLINE"

        eventually(is_refused, "the wait is known")
        assert {error.code_name for error in errors[:-1]} <= {"DEADLINE_EXCEEDED"}
        assert errors[-1].code_name == "RESOURCE_EXHAUSTED"
        assert 1 < (errors[-1].retry_after_s or 0) < 30
        calls.append(caller.stub.Unary.future(EchoRequest(), timeout=100))
        assert error_of(lambda: caller.stub.Quick(EchoRequest(), timeout=1.0)).reason == (
            "WAIT_EXCEEDS_DEADLINE"
        )
        for call in calls:
            call.result()
        assert caller.stub.Unary(EchoRequest(text="x"), timeout=TIMEOUT_S).text == "x"
