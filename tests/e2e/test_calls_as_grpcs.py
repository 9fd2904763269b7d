"""The calls and futures of `forebay.channel` behave as those of a channel of `grpc`.

Each test runs over both with the same assertions.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import pytest

import forebay
from tests.e2e.conftest import Site
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import eventually

TIMEOUT_S = 30.0
LONG = EchoRequest(act="sleep", seconds=60, count=1)
ABORT = EchoRequest(act="abort", count=1)
OK = EchoRequest(text="x", count=2)

Start = Callable[..., Any]


@pytest.fixture(params=["grpc", "forebay", pytest.param("token", marks=pytest.mark.variant)])
def stub(request: pytest.FixtureRequest, site: Site) -> Iterator[EchoServiceStub]:
    (address,) = site.targets(1)
    dials: dict[str, Any] = {
        "grpc": grpc.insecure_channel,
        "forebay": forebay.channel,
        "token": partial(forebay.channel, token=lambda: "fresh"),
    }
    with dials[request.param](address) as channel:
        yield EchoServiceStub(channel)


@pytest.fixture(params=["future", "stream"])
def start(request: pytest.FixtureRequest, stub: EchoServiceStub) -> Start:
    """Starts a call with one response as a future, or one with a stream of responses."""

    def call(wish: EchoRequest, timeout: float | None = TIMEOUT_S) -> Any:
        started = stub.Unary.future if request.param == "future" else stub.ServerStream
        return started(wish, timeout=timeout)

    return call


class Callbacks:
    """Counts calls of callbacks, with the threads that made them."""

    def __init__(self, expected: int = 1) -> None:
        self.got: list[Any] = []
        self.threads: set[int] = set()
        self._called = threading.Semaphore(0)
        self._expected = expected

    def __call__(self, value: Any = None) -> None:
        self.got.append(value)
        self.threads.add(threading.get_ident())
        self._called.release()

    def wait(self) -> list[Any]:
        for _ in range(self._expected):
            assert self._called.acquire(timeout=TIMEOUT_S)
        return self.got


@pytest.mark.parametrize("method", ["result", "exception", "traceback", "code", "details"])
def test_a_done_callback_may_call_the_blocking_methods(stub: EchoServiceStub, method: str) -> None:
    for wish in (OK, ABORT):
        future = stub.Unary.future(wish, timeout=TIMEOUT_S)
        callbacks = Callbacks()

        def ask(done: Any, callbacks: Callbacks = callbacks) -> None:
            try:
                callbacks(getattr(done, method)())
            except grpc.RpcError as error:
                callbacks(error.code())  # type: ignore[attr-defined]

        future.add_done_callback(ask)
        (got,) = callbacks.wait()
        try:
            expected = getattr(future, method)()
        except grpc.RpcError as error:
            expected = error.code()  # type: ignore[attr-defined]
        if method in ("code", "details") or (wish is ABORT and method == "result"):
            assert got == expected
        else:
            assert type(got) is type(expected)


def test_the_result_of_a_success(stub: EchoServiceStub) -> None:
    future = stub.Unary.future(OK, timeout=TIMEOUT_S)
    assert future.result(timeout=TIMEOUT_S).text == "x"
    assert future.result().text == "x"
    assert future.exception() is None
    assert future.traceback() is None
    assert future.done()
    assert not future.running()
    assert not future.cancelled()
    assert not future.is_active()
    assert future.cancel() is False
    assert future.code() is grpc.StatusCode.OK
    assert future.details() == ""
    assert "forebay-call-id" in dict(future.initial_metadata())
    assert "forebay-attempts" in dict(future.trailing_metadata())
    assert future.debug_error_string() == ""


def test_the_end_of_a_failure(start: Start) -> None:
    call = start(ABORT)
    with pytest.raises(grpc.RpcError) as raised:
        call.result(timeout=TIMEOUT_S)
    error = call.exception(timeout=TIMEOUT_S)
    assert isinstance(error, grpc.RpcError)
    for failed in (raised.value, error, call):
        assert failed.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
        assert failed.details() == "no such ☃"  # type: ignore[attr-defined]
        trailing = dict(failed.trailing_metadata())  # type: ignore[attr-defined]
        assert "grpc-status-details-bin" in trailing
        assert "no such" in failed.debug_error_string()  # type: ignore[attr-defined]
    assert call.traceback(timeout=TIMEOUT_S) is not None
    assert (call.done(), call.running(), call.cancelled()) == (True, False, False)
    assert not call.is_active()
    assert not call.cancel()


def test_a_stream_ends_with_its_responses(stub: EchoServiceStub) -> None:
    call: Any = stub.ServerStream(OK, timeout=TIMEOUT_S)
    assert iter(call) is call
    assert [item.index for item in call if item.WhichOneof("part") == "text"] == [0, 1]
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(call)
    with pytest.raises(StopIteration):
        call.next()
    assert call.done()
    assert call.exception() is None
    assert call.code() is grpc.StatusCode.OK


def test_a_failed_stream_raises_at_each_step(stub: EchoServiceStub) -> None:
    call = stub.ServerStream(ABORT, timeout=TIMEOUT_S)
    for _ in range(2):
        with pytest.raises(grpc.RpcError) as raised:
            next(call)
        assert raised.value.code() is grpc.StatusCode.NOT_FOUND


def test_a_running_call(start: Start) -> None:
    call = start(LONG, timeout=20.0)
    assert (call.done(), call.running(), call.cancelled()) == (False, True, False)
    assert call.is_active()
    assert 10.0 < call.time_remaining() <= 20.0
    for wait in (call.result, call.exception, call.traceback):
        begun = time.monotonic()
        with pytest.raises(grpc.FutureTimeoutError):
            wait(timeout=0.05)
        assert time.monotonic() - begun < 5.0
    assert "object" in repr(call)
    call.cancel()


def test_a_call_without_a_deadline_has_no_time_remaining(start: Start) -> None:
    call = start(LONG, timeout=None)
    assert call.time_remaining() is None
    call.cancel()


def test_a_deadline_ends_a_call(start: Start) -> None:
    call = start(LONG, timeout=0.3)
    assert call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert call.time_remaining() == 0
    assert not call.cancelled()


def test_a_cancelled_call(start: Start) -> None:
    call = start(LONG)
    callbacks = Callbacks(2)
    call.add_done_callback(callbacks)
    assert call.add_callback(callbacks)
    assert call.cancel() is True
    assert call.cancel() is False
    assert (call.done(), call.running(), call.cancelled()) == (True, False, True)
    assert not call.is_active()
    for wait in (call.result, call.exception, call.traceback):
        with pytest.raises(grpc.FutureCancelledError):
            wait(timeout=TIMEOUT_S)
    assert call.code() is grpc.StatusCode.CANCELLED
    assert call.details() == "Locally cancelled by application!"
    assert call.trailing_metadata() == ()
    assert call in callbacks.wait()
    assert threading.get_ident() not in callbacks.threads


def test_a_cancelled_stream_raises(stub: EchoServiceStub) -> None:
    call = stub.ServerStream(LONG, timeout=TIMEOUT_S)
    call.cancel()
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    assert raised.value.code() is grpc.StatusCode.CANCELLED


def test_callbacks_run_in_order_in_a_thread_of_the_channel(start: Start) -> None:
    call = start(LONG, timeout=0.5)
    order: list[str] = []
    last = Callbacks()
    registered = [
        call.add_callback(lambda: order.append("first")),
        call.add_done_callback(lambda done: order.append("second")),
        call.add_callback(lambda: order.append("third")),
        call.add_callback(last),
    ]
    assert registered == [True, None, True, True]
    last.wait()  # nobody reads the stream
    assert order == ["first", "second", "third"]
    assert threading.get_ident() not in last.threads


def test_a_callback_that_raises_does_not_stop_the_others(start: Start) -> None:
    call = start(LONG, timeout=0.5)
    callbacks = Callbacks()
    call.add_done_callback(lambda done: 1 / 0)
    call.add_done_callback(callbacks)
    assert callbacks.wait() == [call]


def test_callbacks_after_the_end(start: Start) -> None:
    call = start(ABORT)
    call.code()
    callbacks = Callbacks()
    call.add_done_callback(callbacks)
    assert callbacks.got == [call]
    assert callbacks.threads == {threading.get_ident()}
    eventually(lambda: not call.add_callback(callbacks), "the callbacks were called")


def test_a_call_is_compared_by_identity_and_is_not_pickled(start: Start) -> None:
    one, other = start(ABORT), start(ABORT)
    assert one == one
    assert one != other
    assert len({one, other, one}) == 2
    with pytest.raises(TypeError):
        pickle.dumps(one)
    one.code()
    for text in (repr(one), str(one)):
        assert "NOT_FOUND" in text
        assert "no such ☃" in text


def test_several_threads_may_wait(start: Start) -> None:
    call = start(EchoRequest(act="abort", count=1))
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(call.code) for _ in range(4)]
        assert {wait.result(TIMEOUT_S) for wait in waiting} == {grpc.StatusCode.NOT_FOUND}


def test_isinstance(start: Start) -> None:
    call = start(ABORT)
    assert isinstance(call, grpc.Call)
    assert isinstance(call, grpc.Future)
    assert isinstance(call, grpc.RpcContext)
    assert isinstance(call, grpc.RpcError)
