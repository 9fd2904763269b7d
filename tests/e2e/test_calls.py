"""Calls of all kinds, with servicers, on each pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis

from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import CallKey
from tests.e2e.interop import first_quick
from tests.echo.v1.echo_pb2 import EchoRequest, EchoResponse
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, environment, eventually, narrow_channel, process, short_folder

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 20.0


class Echo:
    """A running gateway and worker of EchoService."""

    def __init__(self, address: str, data_dir: str, worker: Process, pool: str) -> None:
        self.worker = worker
        self.pool = pool
        self.channel = narrow_channel(address)
        self.stub = EchoServiceStub(self.channel)
        self.ledger = redis.Redis(unix_socket_path=f"{data_dir}/ledger.sock")

    def state(self, call_id: str) -> str:
        """The state in the call's record."""
        call = CallKey(call_id)
        return (self.ledger.hget(f"{call.partition}:call:{call}", "state") or b"").decode()

    def close(self) -> None:
        """Closes the channel."""
        self.channel.close()
        self.ledger.close()


@pytest.fixture(scope="module", params=["prefork", "threads", "solo"])
def echo(request: pytest.FixtureRequest) -> Iterator[Echo]:
    with short_folder() as folder:
        env = environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_SERVICES='["tests.echo.v1.echo_pb2"]',
            FOREBAY_LINGER_S="0.3",
            FOREBAY_WINDOW_BYTES="1000000",
            FOREBAY_QUEUE_WAIT_S="15",
        )
        with process("forebay", "gateway", "--listen", "127.0.0.1:0", env=env, cwd=ROOT) as gateway:
            address = gateway.wait_for(r"ready on (\S+)")[1]
            with process(
                *["celery", "-A", "tests.echo.worker", "worker", "-Q", "echo", "-l", "INFO"],
                *["--pool", request.param, "--concurrency", "2"],
                *["--without-mingle", "--without-gossip"],
                env=env,
                cwd=ROOT,
            ) as worker:
                worker.wait_for(r" ready\.")
                running = Echo(address, str(folder / "data"), worker, request.param)
                yield running
                running.close()


def failed(call: object) -> tuple[str, str, str]:
    """Status, reason and message of the error that a call or its stream raises."""
    with pytest.raises(grpc.RpcError) as raised:
        list(call) if hasattr(call, "__iter__") else call()  # type: ignore[operator]
    error = of_rpc_error(raised.value)
    return error.code_name, error.reason, error.message


def texts(responses: Iterator[EchoResponse]) -> list[tuple[int, str]]:
    return [(r.index, r.text) for r in responses if r.WhichOneof("part") == "text"]


def test_all_four_kinds_of_rpc_answer(echo: Echo) -> None:
    requests = [EchoRequest(text=letter) for letter in "abc"]
    assert echo.stub.Unary(requests[0], timeout=TIMEOUT_S).text == "a"
    assert echo.stub.Quick(requests[1], timeout=TIMEOUT_S).text == "b"
    assert texts(echo.stub.ServerStream(EchoRequest(text="x", count=3), timeout=TIMEOUT_S)) == [
        (0, "x"),
        (1, "x"),
        (2, "x"),
    ]
    assert echo.stub.ClientStream(iter(requests), timeout=TIMEOUT_S).text == "abc"
    assert texts(echo.stub.Bidi(iter(requests), timeout=TIMEOUT_S)) == list(enumerate("abc"))


def test_streams_may_be_empty(echo: Echo) -> None:
    assert list(echo.stub.ServerStream(EchoRequest(count=0), timeout=TIMEOUT_S)) == []
    assert echo.stub.ClientStream(iter([]), timeout=TIMEOUT_S).index == 0
    assert list(echo.stub.Bidi(iter([]), timeout=TIMEOUT_S)) == []


@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream"])
def test_a_handler_aborts_with_a_status(echo: Echo, method: str) -> None:
    call = getattr(echo.stub, method)

    def attempt() -> None:
        response = call(EchoRequest(act="abort", count=1), timeout=TIMEOUT_S)
        list(response) if method == "ServerStream" else None

    assert failed(attempt) == ("NOT_FOUND", "HANDLER_ABORTED", "no such ☃")


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_a_handlers_own_details_and_metadata_arrive(echo: Echo, method: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(echo.stub, method)(EchoRequest(act="abort with details"), timeout=TIMEOUT_S)
    error = of_rpc_error(raised.value)
    assert (error.code_name, error.reason, error.message) == (
        "FAILED_PRECONDITION",
        "OUT_OF_TEA",
        "no tea",
    )
    assert dict(raised.value.trailing_metadata())["x-more"] == "yes"


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_an_exception_of_a_handler_reveals_nothing_to_the_caller(echo: Echo, method: str) -> None:
    call = getattr(echo.stub, method)
    error = failed(lambda: call(EchoRequest(act="raise"), timeout=TIMEOUT_S))
    assert error[:2] == ("INTERNAL", "HANDLER_FAILED")
    assert "secret" not in error[2]
    eventually(lambda: "a secret that must stay in the log" in echo.worker.output, "a traceback")


def test_a_response_of_another_type_is_the_handlers_failure(echo: Echo) -> None:
    error = failed(lambda: echo.stub.Unary(EchoRequest(act="wrong type"), timeout=TIMEOUT_S))
    assert error[:2] == ("INTERNAL", "HANDLER_FAILED")


def test_a_response_over_the_size_limit_is_too_large(echo: Echo) -> None:
    error = failed(lambda: echo.stub.Unary(EchoRequest(padding=5 << 20), timeout=TIMEOUT_S))
    assert error[:2] == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_a_code_that_was_set_is_the_calls_status(echo: Echo, method: str) -> None:
    call = getattr(echo.stub, method)
    error = failed(lambda: call(EchoRequest(act="set code"), timeout=TIMEOUT_S))
    assert error == ("ALREADY_EXISTS", "HANDLER_ABORTED", "as set")


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_metadata_goes_to_the_handler_and_back(echo: Echo, method: str) -> None:
    def metadata() -> tuple[dict[str, Any], dict[str, Any]]:
        _, call = getattr(echo.stub, method).with_call(
            EchoRequest(act="metadata"),
            timeout=TIMEOUT_S,
            metadata=(("x-wish", "tea"), ("authorization", "secret")),
        )
        trailing = dict(call.trailing_metadata())
        assert (trailing["x-trailing"], trailing["x-trailing-bin"]) == ("t", b"\x00\xff")
        return dict(call.initial_metadata()), trailing

    initial, _ = first_quick(metadata, lambda made: made[1])
    assert initial["x-initial"] == "tea"


def test_credentials_are_not_stored(echo: Echo) -> None:
    metadata = (("forebay-call-id", "with-credentials"), ("authorization", "do-not-store"))
    echo.stub.Unary(EchoRequest(text="x"), timeout=TIMEOUT_S, metadata=metadata)
    call = CallKey("with-credentials")
    record = echo.ledger.hgetall(f"{call.partition}:call:{call}")
    assert record
    assert b"do-not-store" not in repr(record).encode()


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_a_handler_knows_the_callers_deadline(echo: Echo, method: str) -> None:
    call = getattr(echo.stub, method)
    remaining = float(call(EchoRequest(act="time remaining"), timeout=10.0).text)
    assert 0 < remaining < 11.0  # gRPC rounds up what goes over the wire
    assert float(call(EchoRequest(act="time remaining")).text) > 1e12  # as in grpc.server


def test_transient_items_come_live_and_are_not_stored(echo: Echo) -> None:
    metadata = (("forebay-call-id", "briefs"),)
    request = EchoRequest(text="x", count=2, seconds=0.05)
    responses = list(echo.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata))
    assert {r.transient for r in responses if r.transient} == {"about 0", "about 1"}
    assert echo.ledger.xlen(CallKey("briefs").items) == 2


def test_a_callers_cancellation_stops_the_handler(echo: Echo) -> None:
    call = echo.stub.ServerStream(
        EchoRequest(act="sleep", seconds=60, count=1), metadata=(("forebay-call-id", "leave"),)
    )
    eventually(lambda: echo.state("leave") == "RUNNING", "the handler runs")
    call.cancel()
    eventually(lambda: echo.state("leave") == "CANCELLED", "the call is cancelled")
    eventually(
        lambda: f"call {CallKey('leave')} was stopped" in echo.worker.output,
        "the handler stops",
    )


def test_a_deadline_stops_the_handler(echo: Echo) -> None:
    metadata = (("forebay-call-id", "late"),)
    request = EchoRequest(act="sleep", seconds=60, count=1)
    error = failed(lambda: list(echo.stub.ServerStream(request, timeout=0.5, metadata=metadata)))
    assert error[0] == "DEADLINE_EXCEEDED"
    eventually(lambda: echo.state("late") == "EXPIRED", "the call is expired")
    eventually(
        lambda: f"call {CallKey('late')} was stopped" in echo.worker.output,
        "the handler stops",
    )


def test_a_detached_call_continues_without_its_caller(echo: Echo) -> None:
    call = echo.stub.Detached(
        EchoRequest(text="x", count=3, seconds=0.3), metadata=(("forebay-call-id", "alone"),)
    )
    next(call)
    call.cancel()
    eventually(lambda: echo.state("alone") == "SUCCEEDED", "the call succeeds")
    assert echo.ledger.xlen(CallKey("alone").items) == 3


def test_a_slow_reader_makes_the_handler_wait(echo: Echo) -> None:
    call = echo.stub.ServerStream(
        EchoRequest(count=200, padding=100_000),
        timeout=60,
        metadata=(("forebay-call-id", "slow-reader"),),
    )
    first = next(call)
    items = CallKey("slow-reader").items
    lengths: list[int] = []

    def join() -> bool:
        lengths.append(echo.ledger.xinfo_stream(items)["entries-added"])
        return len(lengths) > 50 and len(set(lengths[-50:])) == 1

    eventually(join, "the handler waits")
    assert lengths[-1] < 150
    assert [first.index, *(response.index for response in call)] == list(range(200))


def test_read_items_are_trimmed_over_the_limit(echo: Echo) -> None:
    call = echo.stub.ServerStream(
        EchoRequest(count=300, padding=100_000),
        timeout=60,
        metadata=(("forebay-call-id", "long"),),
    )
    assert [response.index for response in call] == list(range(300))
    assert echo.ledger.xlen(CallKey("long").items) <= 90  # of 8 MB
    metadata = (("forebay-call-id", "long"),)
    request = EchoRequest(count=300, padding=100_000)
    again = echo.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata)
    error = failed(lambda: list(again))
    assert error[:2] == ("DATA_LOSS", "ITEMS_LOST")


def test_a_route_with_a_limit_below_the_window_still_makes_progress(echo: Echo) -> None:
    metadata = (("forebay-call-id", "narrow"),)
    request = EchoRequest(count=40, padding=100_000)
    call = echo.stub.Narrow(request, timeout=TIMEOUT_S, metadata=metadata)
    assert [response.index for response in call] == list(range(40))
    assert echo.ledger.xlen(CallKey("narrow").items) <= 5


def test_a_handler_cancels_its_own_call(echo: Echo) -> None:
    metadata = (("forebay-call-id", "own-cancel"),)
    request = EchoRequest(act="cancel", count=2)
    error = failed(echo.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata))
    assert error[:2] == ("CANCELLED", "CANCELLED")
    assert echo.state("own-cancel") == "CANCELLED"


def test_requests_over_the_routes_limit_are_too_large(echo: Echo) -> None:
    requests = (EchoRequest(text="x" * 500_000) for _ in range(5))
    error = failed(lambda: echo.stub.ClientStream(requests, timeout=TIMEOUT_S))
    assert error[:2] == ("RESOURCE_EXHAUSTED", "TOO_LARGE")


def test_a_known_id_attaches_and_returns_the_stored_response(echo: Echo) -> None:
    metadata = (("forebay-call-id", "again"),)
    request = EchoRequest(text="x", count=3)
    first = list(echo.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata))
    call = echo.stub.ServerStream(
        request, timeout=TIMEOUT_S, metadata=(*metadata, ("forebay-resume-from", "1"))
    )
    assert list(call) == first[1:]
    assert dict(call.initial_metadata())["forebay-attached"] == "finished"


def test_many_concurrent_calls_all_succeed(echo: Echo) -> None:
    answers: list[str] = []

    def call(number: int) -> None:
        answers.append(echo.stub.Unary(EchoRequest(text=str(number)), timeout=60).text)

    threads = [threading.Thread(target=call, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=int) == [str(number) for number in range(50)]


def test_a_slot_that_is_taken_does_not_slow_the_other(echo: Echo) -> None:
    if echo.pool == "solo":
        return  # there is no other
    long = echo.stub.ServerStream(EchoRequest(act="sleep", seconds=90, count=1), timeout=90)
    long.initial_metadata()
    # At one message a second, as when a free slot has to wait for its message, they time out.
    calls = [echo.stub.Unary.future(EchoRequest(text=str(n)), timeout=40) for n in range(60)]
    assert [call.result().text for call in calls] == [str(n) for n in range(60)]
    long.cancel()


def test_a_method_without_a_route_is_not_served(echo: Echo) -> None:
    error = failed(lambda: echo.stub.Unrouted(EchoRequest(), timeout=TIMEOUT_S))
    assert error[:2] == ("UNIMPLEMENTED", "METHOD_UNKNOWN")


def test_timing_metadata_is_sent(echo: Echo) -> None:
    begun = time.monotonic()
    _, call = echo.stub.Unary.with_call(EchoRequest(act="sleep", seconds=0.2), timeout=TIMEOUT_S)
    took_ms = (time.monotonic() - begun) * 1000
    trailing = dict(call.trailing_metadata())
    assert 200 <= int(trailing["forebay-run-ms"]) <= took_ms
    assert trailing["forebay-attempts"] == "1"
