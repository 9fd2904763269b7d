"""Losses of a killed ledger: never synced data, and never without an error."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest

from forebay.rpc_errors import of_rpc_error
from forebay_backends.broker.task_messages import queue_lists
from forebay_backends.ledger.keys import CallKey
from tests.echo.v1.echo_pb2 import EchoRequest
from tests.faults.backend import Link, Server, link, server
from tests.faults.echoes import (
    TIMEOUT_S,
    Gateway,
    error_of,
    gateway,
    id_of,
    indexes,
    named,
    rest_and_error,
    slow,
    take,
    worker,
)
from tests.harness import Process, eventually, short_folder

REQUEST = EchoRequest(text="hello")
CALLS = 120
CALLERS = 6
KILLS = 3
LOST = ("DATA_LOSS", "ITEMS_LOST")
AWAY = ("UNAVAILABLE", "BACKEND_UNAVAILABLE")


class System:
    """A gateway and a worker on one server."""

    def __init__(self, server: Server, gateway: Gateway, worker: Process) -> None:
        self.server = server
        self.gateway = gateway
        self.worker = worker

    def record(self, call_id: str) -> dict[bytes, bytes]:
        """The call's record, read from the server."""
        call = CallKey(call_id)
        found: Any = self.server.client.hgetall(f"{call.partition}:call:{call}")
        return dict(found)


@pytest.fixture
def system() -> Iterator[System]:
    with (
        server() as ledger,
        gateway(FOREBAY_LEDGER_URL=ledger.url) as serving,
        worker(FOREBAY_LEDGER_URL=ledger.url) as working,
    ):
        eventually(serving.serving, "the gateway serves")
        yield System(ledger, serving, working)


@pytest.fixture
def copy() -> Iterator[Path]:
    """A folder for a copy of a server's data."""
    with short_folder() as folder:
        yield folder / "copy"


def fresh() -> str:
    return f"call-{uuid.uuid4()}"


def call_until_done(system: System, call_id: str) -> str:
    """Calls, and calls again under the same id while a retry may help."""
    while True:
        try:
            return str(
                system.gateway.stub.Unary(
                    EchoRequest(text=call_id), timeout=TIMEOUT_S, metadata=named(call_id)
                ).text
            )
        except grpc.RpcError as error:
            if of_rpc_error(error).retry_after_s is None:
                raise


@pytest.mark.variant
def test_nothing_accepted_is_lost_where_every_write_is_synced(system: System) -> None:
    ids = [fresh() for _ in range(CALLS)]
    answers: dict[str, str] = {}
    todo = iter(ids)

    def call() -> None:
        for call_id in todo:
            answers[call_id] = call_until_done(system, call_id)

    callers = [threading.Thread(target=call) for _ in range(CALLERS)]
    for caller in callers:
        caller.start()
    for kill in range(1, KILLS + 1):
        eventually(lambda at=kill: len(answers) > at * CALLS // (KILLS + 2), "answers come", 100.0)
        system.server.kill()
        system.server.start()
    for caller in callers:
        caller.join()
    assert answers == {call_id: call_id for call_id in ids}
    again = [call_until_done(system, call_id) for call_id in ids[::10]]
    assert again == ids[::10], "the records are there"


def test_a_call_whose_record_is_lost_while_it_is_watched_ends_with_data_loss(
    system: System, copy: Path
) -> None:
    system.server.copy_data(copy)
    call_id = fresh()
    stream = system.gateway.stub.ServerStream(slow(200), timeout=TIMEOUT_S, metadata=named(call_id))
    take(stream, 5)
    system.server.kill()
    system.server.restore(copy)
    _, error = rest_and_error(stream)
    assert (error.code_name, error.reason) == LOST
    resumed = system.gateway.stub.ServerStream(
        slow(200), timeout=TIMEOUT_S, metadata=named(call_id, 5)
    )
    assert error_of(resumed).code_name == "NOT_FOUND"


def test_sent_items_that_are_lost_end_the_call(system: System, copy: Path) -> None:
    call_id = fresh()
    stub = system.gateway.stub
    stream = stub.ServerStream(slow(200), timeout=TIMEOUT_S, metadata=named(call_id))
    seen = take(stream, 5)
    system.server.copy_data(copy)
    kept = int(system.record(call_id)[b"item_count"])
    seen += take(stream, kept + 10)
    system.server.kill()
    system.server.restore(copy)
    rest, error = rest_and_error(stream)
    assert (error.code_name, error.reason) == LOST
    assert indexes(seen + rest) == list(range(len(indexes(seen + rest))))
    beyond = stub.ServerStream(slow(200), timeout=TIMEOUT_S, metadata=named(call_id, len(seen)))
    error = error_of(beyond)
    assert (error.code_name, error.reason) == LOST
    within = stub.ServerStream(slow(200), timeout=TIMEOUT_S, metadata=named(call_id, 3))
    rest, error = rest_and_error(within)
    assert indexes(rest) == list(range(3, 3 + len(indexes(rest))))
    assert len(indexes(rest)) >= 2, "what is kept is handed out"
    assert error.code_name in ("ABORTED", "DATA_LOSS")


def test_lost_requests_are_an_error(system: System, copy: Path) -> None:
    call_id, kill, go_on = fresh(), threading.Event(), threading.Event()

    def requests() -> Iterator[EchoRequest]:
        for number in range(10):
            if number == 8:
                kill.set()
                go_on.wait(TIMEOUT_S)
            yield EchoRequest(text=f"{number} ")

    def spooled(count: int) -> bool:
        return int(system.record(call_id).get(b"request_count", 0)) == count

    system.server.copy_data(copy)
    call = system.gateway.stub.ClientStream.future(
        requests(), timeout=TIMEOUT_S, metadata=named(call_id)
    )
    assert kill.wait(TIMEOUT_S)
    eventually(lambda: spooled(8), "the requests are spooled")
    system.server.kill()
    system.server.restore(copy)
    go_on.set()
    error = error_of(call)
    assert (error.code_name, error.reason) == LOST
    assert call_id not in system.worker.output


@pytest.fixture
def deserted() -> Iterator[tuple[Server, Link, Gateway]]:
    """A gateway on a link to its server, and no worker."""
    with ExitStack() as stack:
        ledger = stack.enter_context(server())
        way = stack.enter_context(link(ledger.port))
        serving = stack.enter_context(gateway(FOREBAY_LEDGER_URL=way.url))
        eventually(serving.serving, "the gateway serves")
        yield ledger, way, serving


def states(server: Server) -> list[bytes]:
    """The states of all calls on record."""
    client: Any = server.client
    return [client.hget(key, "state") for key in client.scan_iter("*:call:*")]


@pytest.mark.parametrize("method", ["ServerStream", "Detached"])
def test_a_late_accept_is_undone(deserted: tuple[Server, Link, Gateway], method: str) -> None:
    ledger, way, serving = deserted
    with way.silent():
        call = getattr(serving.stub, method)(slow(3), timeout=TIMEOUT_S)
        error = error_of(call)
        assert (error.code_name, error.reason) == AWAY
        assert states(ledger) == []
    marker = serving.stub.ServerStream(slow(3), timeout=TIMEOUT_S, metadata=named("marker"))
    assert id_of(marker) == "marker"
    eventually(
        lambda: sorted(states(ledger)) in ([b"QUEUED"], [b"CANCELLED", b"QUEUED"]),
        "the call, which no caller knows, is deleted or cancelled",
    )
    marker.cancel()


def test_a_retry_after_a_late_accept_attaches(
    deserted: tuple[Server, Link, Gateway],
) -> None:
    ledger, way, serving = deserted
    call_id = fresh()

    def call() -> Any:
        return serving.stub.ServerStream(slow(3), timeout=TIMEOUT_S, metadata=named(call_id))

    with way.silent():
        assert error_of(call()).reason == AWAY[1]
    again = call()
    assert id_of(again) == call_id
    eventually(lambda: states(ledger) == [b"QUEUED"], "there is one record")
    client: Any = ledger.client
    assert sum(client.llen(name) for name in queue_lists("echo")) == 1
    again.cancel()
