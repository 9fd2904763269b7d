"""Coroutine handlers on Forebay's asyncio pool: a real gateway and worker.

`test_coroutine_context.py` compares what handlers and callers see with `grpc.aio.server`.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
import redis
from google.protobuf.empty_pb2 import Empty

from forebay.rpc_errors import of_rpc_error
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.scripts import LEASE_S
from tests.echo.gates import Gates
from tests.echo.running import COROUTINES_APP, echo_environment, echo_gateway, echo_worker
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.echo.v1.echo_pb2_grpc import EchoServiceStub
from tests.harness import Process, eventually, narrow_channel, short_folder

TIMEOUT_S = 60.0
SLOTS = 20
SOON_MS, TRIES = 1000, 3
"""A call whose handler raised ends within this time; a starved machine may delay one of several."""


@dataclass(frozen=True)
class System:
    """A gateway, and a worker with the asyncio pool."""

    stub: EchoServiceStub
    worker: Process
    server: redis.Redis

    def state(self, call: str) -> str:
        """The state of the call with that id."""
        return self.field(call, "state")

    def field(self, call: str, name: str) -> str:
        """A field of the call's record."""
        key = CallKey(call)
        return (self.server.hget(f"{key.partition}:call:{key}", name) or b"").decode()

    def took_ms(self, call: str) -> int:
        """From the begin of the call's attempt to its end, by the ledger's clock."""
        return int(self.field(call, "finished_at")) - int(self.field(call, "begun_at"))


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with short_folder() as folder:
        env = echo_environment(
            FOREBAY_DATA_DIR=str(folder / "data"),
            FOREBAY_LINGER_S="0",
            FOREBAY_WINDOW_BYTES="100000",
        )
        with (
            echo_gateway(env) as (_, address),
            echo_worker(env, "asyncio", SLOTS, COROUTINES_APP) as worker,
            narrow_channel(address) as channel,
            redis.Redis(unix_socket_path=f"{folder}/data/ledger.sock") as server,
        ):
            yield System(EchoServiceStub(channel), worker, server)


def new_id() -> tuple[str, tuple[tuple[str, str], ...]]:
    """A call's id, and the metadata with it."""
    call = f"asyncio-{uuid.uuid4()}"
    return call, (("forebay-call-id", call),)


@pytest.mark.parametrize("method", ["Unary", "Quick", "QuickAgain"])
def test_as_many_handlers_as_slots_wait_at_a_time(system: System, method: str) -> None:
    request = EchoRequest(act="sleep", seconds=1)
    began = time.monotonic()
    calls = [getattr(system.stub, method).future(request, timeout=TIMEOUT_S) for _ in range(SLOTS)]
    for call in calls:
        call.result()
    assert time.monotonic() - began < SLOTS / 2


def test_all_handlers_of_a_process_share_an_event_loop(system: System) -> None:
    request = EchoRequest(act="loop")
    methods = (system.stub.Unary, system.stub.Quick, system.stub.Unary)
    assert len({method(request, timeout=TIMEOUT_S).text for method in methods}) == 1


def test_an_ordinary_handler_runs_beside_them(system: System) -> None:
    waiting = system.stub.Unary.future(EchoRequest(act="sleep", seconds=60), timeout=TIMEOUT_S)
    assert system.stub.Nothing(Empty(), timeout=TIMEOUT_S) == Empty()
    waiting.cancel()


@pytest.mark.parametrize("method", ["Unary", "Quick", "ServerStream", "Bidi", "Talk"])
def test_a_cancel_cancels_the_coroutine(system: System, method: str, tmp_path: Path) -> None:
    file = tmp_path / "ended"
    request = EchoRequest(act="sleep", seconds=60, text=str(file), count=1)
    send = getattr(system.stub, method)
    begin = getattr(send, "future", send)
    call = begin(iter([request]) if method in ("Bidi", "Talk") else request, timeout=TIMEOUT_S)
    eventually(file.with_suffix(".begun").exists, "the handler has begun", TIMEOUT_S)
    call.cancel()
    eventually(file.exists, "the handler was cancelled", TIMEOUT_S)


@pytest.mark.parametrize("method", ["Unary", "Quick"])
def test_a_deadline_cancels_the_coroutine(system: System, method: str, tmp_path: Path) -> None:
    file, (call, metadata) = tmp_path / "ended", new_id()
    request = EchoRequest(act="sleep", seconds=60, text=str(file))
    with pytest.raises(grpc.RpcError) as raised:
        getattr(system.stub, method)(request, timeout=3, metadata=metadata)
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    eventually(file.exists, "the handler was cancelled", TIMEOUT_S)
    # Its caller's disconnection may be first.
    ended = ("EXPIRED", "CANCELLED")
    eventually(lambda: system.state(call) in ended, "the call has ended", TIMEOUT_S)


def test_a_slow_reader_suspends_its_handler_and_no_other(system: System) -> None:
    """The window is 100 kB, and all items are 12 MB: more than any buffer on the way."""
    count, (name, metadata) = 60, new_id()
    request = EchoRequest(count=count, padding=200_000)
    call = system.stub.ServerStream(request, timeout=TIMEOUT_S, metadata=metadata)
    assert next(call).index == 0
    read_at_once = system.stub.ServerStream(request, timeout=TIMEOUT_S)
    assert [response.index for response in read_at_once] == list(range(count))
    assert 0 < int(system.field(name, "item_count")) < count * 2 / 3
    assert [response.index for response in call] == list(range(1, count))


def test_a_stream_is_resumed(system: System) -> None:
    _, metadata = new_id()
    request = EchoRequest(text="x", count=5)
    whole = [r.index for r in system.stub.ServerStream(request, timeout=60, metadata=metadata)]
    resumed = system.stub.ServerStream(
        request, timeout=60, metadata=(*metadata, ("forebay-resume-from", "3"))
    )
    assert (whole, [r.index for r in resumed]) == ([0, 1, 2, 3, 4], [3, 4])


def test_live_requests_come_while_the_handler_waits_for_them(system: System) -> None:
    answers: list[str] = []

    def requests() -> Iterator[EchoRequest]:
        for index in range(3):
            eventually(lambda index=index: len(answers) == index, "the answer", TIMEOUT_S)
            yield EchoRequest(text=str(index))

    for response in system.stub.Talk(requests(), timeout=TIMEOUT_S):
        answers.append(response.text)
    assert answers == ["0", "1", "2"]


@pytest.mark.parametrize("act", ["exit", "exit in a task", "cancelled", "raise"])
def test_no_exception_ends_the_event_loop(system: System, act: str) -> None:
    before = system.stub.Unary(EchoRequest(act="loop"), timeout=TIMEOUT_S).text
    if act == "exit in a task":  # the handler goes on
        system.stub.Unary(EchoRequest(act=act), timeout=TIMEOUT_S)
    else:
        took_ms = []
        for _ in range(TRIES):
            call, metadata = new_id()
            with pytest.raises(grpc.RpcError) as raised:
                system.stub.Unary(EchoRequest(act=act), timeout=TIMEOUT_S, metadata=metadata)
            assert of_rpc_error(raised.value).reason == "HANDLER_FAILED"
            system.worker.wait_for(rf"(?s){call}.*Traceback")
            took_ms.append(system.took_ms(call))
        assert min(took_ms) < SOON_MS
    assert system.stub.Unary(EchoRequest(act="loop"), timeout=TIMEOUT_S).text == before


def test_a_handler_that_blocks_the_loop_is_named_once(system: System) -> None:
    for _ in range(2):
        assert not [*system.stub.Steady(EchoRequest(act="insist", seconds=3), timeout=TIMEOUT_S)]
    pattern = r"the handler of (\S+) has blocked the event loop .* at \S+aio_worker.py:\d+ in act"
    assert re.findall(pattern, system.worker.output) == ["tests.echo.v1.EchoService.Steady"]


@pytest.mark.variant
def test_a_call_is_kept_while_a_handler_blocks_the_loop_for_longer_than_a_lease(
    system: System,
) -> None:
    waiting = system.stub.Unary.future(EchoRequest(act="sleep", seconds=1), timeout=TIMEOUT_S)
    call = system.stub.Detached(EchoRequest(act="insist", seconds=LEASE_S + 3), timeout=TIMEOUT_S)
    assert not [*call]
    for ended in (call, waiting):
        assert dict(ended.trailing_metadata())["forebay-attempts"] == "1"


@pytest.mark.variant
def test_an_ephemeral_call_is_kept_while_a_handler_blocks_the_loop_for_longer_than_a_lease(
    system: System, tmp_path: Path
) -> None:
    gates, received = Gates(tmp_path), system.worker.output.count(" received")
    waiting = gates.call(system.stub, "QuickAgain", "beside")
    eventually(lambda: bool(gates.begun()), "its handler waits")
    blocking = EchoRequest(act="insist", seconds=LEASE_S + 4, text="x")
    assert system.stub.QuickAgain(blocking, timeout=TIMEOUT_S).text == "x"
    gates.open("beside")
    assert waiting.result().text == "beside"
    assert gates.noted() == [("beside", "begins"), ("beside", "ends")]
    assert system.worker.output.count(" received") == received + 2, "each has run once"


def test_lines_that_tasks_of_a_handler_log_show_its_call(system: System) -> None:
    call, metadata = new_id()
    system.stub.Unary(EchoRequest(act="log"), timeout=TIMEOUT_S, metadata=metadata)
    system.worker.wait_for(rf"WARNING.*{call}.*no stock|no stock.*{call}")


def test_a_worker_finishes_its_coroutines_when_it_shuts_down(
    system: System, tmp_path: Path
) -> None:
    """A warm shutdown, as of Celery's other pools."""
    file = tmp_path / "ended"
    request = EchoRequest(act="sleep", seconds=2, text=str(file))
    call = system.stub.Unary.future(request, timeout=TIMEOUT_S)
    eventually(file.with_suffix(".begun").exists, "the handler has begun", TIMEOUT_S)
    assert system.worker.stop() == 0  # the module's last test
    assert call.result().text == str(file)
    assert not file.exists()
