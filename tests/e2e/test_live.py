"""Live methods through gRPC: requests reach the handler as they arrive, in spite of faults."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import psutil
import pytest
from google.longrunning.operations_pb2 import CancelOperationRequest
from google.longrunning.operations_pb2_grpc import OperationsStub

import forebay
from forebay.errors import ForebayError
from forebay.rpc_errors import mapped_rpc_errors
from forebay_backends.ledger.keys import CallKey
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

TIMEOUT_S = 60.0
MIB = 1 << 20


class Pings(Iterator[EchoRequest]):
    """A request stream that a test feeds and ends."""

    def __init__(self, *texts: str) -> None:
        self._queue: SimpleQueue[EchoRequest | None] = SimpleQueue()
        for text in texts:
            self.say(text)

    def say(self, text: str, **more: Any) -> None:
        """Sends another request."""
        self._queue.put(EchoRequest(text=text, **more))

    def end(self) -> None:
        """Ends the stream."""
        self._queue.put(None)

    def __next__(self) -> EchoRequest:
        request = self._queue.get()
        if request is None:
            raise StopIteration
        return request


@pytest.fixture
def pings() -> Iterator[Pings]:
    """A stream with the request "0", to which the test adds more."""
    pings = Pings("0")
    yield pings
    pings.end()


@pytest.fixture
def stub(site: Site) -> Iterator[EchoServiceStub]:
    with grpc.insecure_channel(*site.targets(1)) as channel:
        yield EchoServiceStub(channel)


def named(call_id: str) -> tuple[tuple[str, str], ...]:
    return (("forebay-call-id", call_id),)


def new_id() -> str:
    return f"live-{uuid.uuid4()}"


def failure(call: Any) -> ForebayError:
    """The error that the call ends with."""
    with pytest.raises(ForebayError) as raised, mapped_rpc_errors():
        list(call)
    return raised.value


def slots_are_free(stub: EchoServiceStub) -> bool:
    """Whether as many calls as the site's worker has slots run at the same time."""
    request = EchoRequest(act="sleep", seconds=0.2)
    calls = [stub.Unary.future(request, timeout=TIMEOUT_S) for _ in range(4)]
    return all(call.result() is not None for call in calls)


def test_a_handler_may_end_before_the_requests_do(stub: EchoServiceStub, pings: Pings) -> None:
    call = stub.Talk(pings, timeout=TIMEOUT_S)
    assert next(call).text == "0"
    pings.say("bye", act="return")
    assert [response.text for response in call] == ["bye"]
    assert call.code() is grpc.StatusCode.OK
    pings = Pings("0")
    pings.say("1", act="return")
    future = stub.Listen.future(pings, timeout=TIMEOUT_S)
    assert future.result().text == "01"
    pings.end()


def test_the_end_of_the_requests_is_the_end_of_the_iterator(
    stub: EchoServiceStub, pings: Pings
) -> None:
    future = stub.Listen.future(pings, timeout=TIMEOUT_S)
    pings.say("1")
    pings.end()
    assert (future.result().text, future.result().index) == ("01", 2)


def test_an_abort_in_the_middle_ends_the_call(stub: EchoServiceStub, pings: Pings) -> None:
    call = stub.Talk(pings, timeout=TIMEOUT_S)
    assert next(call).text == "0"
    pings.say("", act="abort")
    error = failure(call)
    assert (error.code_name, error.message) == ("NOT_FOUND", "no such ☃")


def test_a_cancel_between_two_requests_frees_the_worker(
    site: Site, stub: EchoServiceStub, pings: Pings
) -> None:
    call_id = new_id()
    call = stub.Talk(pings, timeout=TIMEOUT_S, metadata=named(call_id))
    assert next(call).text == "0"
    with grpc.insecure_channel(*site.targets(1)) as channel:
        request = CancelOperationRequest(name=f"operations/{call_id}")
        OperationsStub(channel).CancelOperation(request, timeout=TIMEOUT_S)
    assert failure(call).code_name == "CANCELLED"
    assert slots_are_free(stub)


def test_a_disconnect_cancels_the_call(site: Site, stub: EchoServiceStub, pings: Pings) -> None:
    call = stub.Talk(pings, timeout=TIMEOUT_S)
    assert next(call).text == "0"
    call_id = dict(call.initial_metadata())["forebay-call-id"]
    call.cancel()
    eventually(lambda: site.field(call_id, "state") == "CANCELLED", "the call is cancelled")


def test_a_deadline_between_two_requests_ends_the_call(
    site: Site, stub: EchoServiceStub, pings: Pings
) -> None:
    call_id = new_id()
    call = stub.Talk(pings, timeout=3.0, metadata=named(call_id))
    assert next(call).text == "0"
    assert failure(call).code_name == "DEADLINE_EXCEEDED"
    eventually(lambda: site.field(call_id, "state") == "EXPIRED", "the call has ended")


def test_a_caller_that_is_idle_for_too_long_frees_the_worker(stub: EchoServiceStub) -> None:
    idle = [Pings("0") for _ in range(4)]
    calls = [stub.TalkFast(pings, timeout=TIMEOUT_S) for pings in idle]
    assert [next(call).text for call in calls] == ["0"] * 4
    began = time.monotonic()
    for call in calls:
        error = failure(call)
        assert (error.code_name, error.reason) == ("DEADLINE_EXCEEDED", "CALLER_IDLE")
        assert "next request" in error.message
    assert time.monotonic() - began < TIMEOUT_S / 2
    assert slots_are_free(stub)
    for pings in idle:
        pings.end()


def test_a_handler_that_works_does_not_make_its_caller_idle(
    stub: EchoServiceStub, pings: Pings
) -> None:
    call = stub.TalkFast(pings, timeout=TIMEOUT_S)
    pings.say("1", act="sleep", seconds=2.5)
    pings.end()
    assert [response.text for response in call] == ["0", "1"]


def test_an_invalid_request_ends_the_call_in_its_record(site: Site) -> None:
    call_id, gate = new_id(), threading.Event()

    def requests() -> Iterator[bytes]:
        yield EchoRequest(text="0").SerializeToString()
        gate.wait(TIMEOUT_S)
        yield b"\xff\xff"

    with grpc.insecure_channel(*site.targets(1)) as channel:
        talk: Any = channel.stream_stream("/tests.echo.v1.EchoService/Talk")
        call = talk(requests(), timeout=TIMEOUT_S, metadata=named(call_id))
        assert EchoResponse.FromString(next(call)).text == "0"
        gate.set()
        error = failure(call)
    assert (error.code_name, error.reason) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert site.field(call_id, "state") == "FAILED"


def test_requests_that_are_kept_for_another_attempt_have_a_limit(stub: EchoServiceStub) -> None:
    requests = [EchoRequest(text=str(number), ballast=bytes(300_000)) for number in range(10)]
    error = failure(stub.TalkAgain(iter(requests), timeout=TIMEOUT_S))
    assert (error.code_name, error.reason) == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


def test_unread_requests_wait_at_the_caller(site: Site) -> None:
    """200 MiB for a handler that reads 20 messages a second: most must stay at the caller."""
    gateway = site.gateway()
    process, call_id, count = psutil.Process(gateway.process.popen.pid), new_id(), 800
    sent = 0

    def flood() -> Iterator[EchoRequest]:
        nonlocal sent
        for number in range(count):
            slow = {"act": "sleep", "seconds": 0.05} if number < 40 else {}
            yield EchoRequest(text=str(number), ballast=bytes(MIB // 4), **slow)
            sent += 1

    key = CallKey(call_id)
    with grpc.insecure_channel(gateway.address) as channel:
        before = process.memory_info().rss
        call = EchoServiceStub(channel).Talk(flood(), timeout=TIMEOUT_S, metadata=named(call_id))
        for index, response in enumerate(call):
            assert response.text == str(index)
            if index in (10, 30):
                assert site.ledger.memory_usage(key.inputs) < 3 * MIB
                assert process.memory_info().rss - before < 96 * MIB
                assert sent < count / 2  # gRPC itself buffers tens of MiB on the way
        assert index == count - 1
    gateway.end()


def test_another_caller_attaches_by_the_id(site: Site, stub: EchoServiceStub, pings: Pings) -> None:
    call_id = new_id()
    call = stub.Talk(pings, timeout=TIMEOUT_S, metadata=named(call_id))
    assert next(call).text == "0"
    with grpc.insecure_channel(site.targets(2)[1]) as channel:
        follower = EchoServiceStub(channel).Talk(
            iter(()), timeout=TIMEOUT_S, metadata=named(call_id)
        )
        assert next(follower).text == "0"
        pings.say("1")
        assert (next(call).text, next(follower).text) == ("1", "1")
        pings.end()
        assert (list(call), list(follower)) == ([], [])


def test_a_call_continues_at_another_gateway(site: Site) -> None:
    call_id, pings = new_id(), Pings("0")
    with forebay.channel(site.targets(3)) as channel:
        call = EchoServiceStub(channel).Talk(pings, timeout=TIMEOUT_S, metadata=named(call_id))
        said = []
        for number in range(10):
            said.append(next(call).text)
            if number in (3, 6):
                site.end_gateway_of(call_id)
            pings.say(str(number + 1))
        pings.end()
        said += [response.text for response in call]
    assert said == [str(number) for number in range(11)]
    assert site.field(call_id, "attempt") == "1"


def test_an_interrupted_request_stream_does_not_count_as_complete(site: Site) -> None:
    """Its handler waits until a caller continues the call, here with all requests."""
    call_id = new_id()
    with grpc.insecure_channel(*site.targets(1)) as channel:
        stub = EchoServiceStub(channel)
        first = Pings("0", "1")
        cut = stub.Talk(first, timeout=TIMEOUT_S, metadata=named(call_id))
        assert [next(cut).text, next(cut).text] == ["0", "1"]
        cut.cancel()
        first.end()
        eventually(lambda: bool(site.field(call_id, "abandoned_at")), "the gateway notices")
        assert site.field(call_id, "state") == "RUNNING"
        requests = (EchoRequest(text=text) for text in "0123")
        metadata = (*named(call_id), ("forebay-resume-from", "2"))
        rest = stub.Talk(requests, timeout=TIMEOUT_S, metadata=metadata)
        assert [response.text for response in rest] == ["2", "3"]
