"""Garbage in places to which only Forebay writes: no process ends, and calls succeed."""

from __future__ import annotations

import json
import os
import pickle
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from google.longrunning import operations_pb2, operations_pb2_grpc

from forebay.compute.v1.compute_pb2 import AddRequest, FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.v1 import call_pb2, calls_pb2
from forebay_backends.broker.task_messages import TaskMessage, redis_push
from forebay_backends.ledger.keys import PRESENCE_INDEX, CallKey, presence_key
from tests.commands import run
from tests.harness import Process, environment, eventually, forebay_up, short_folder

GARBAGE = [b"", b"\xff\xff", b"item", b"item /x y\n", b"reply\n\xff\xff", b"end /x GONE\n", b"stop"]


class System:
    """A running `forebay up`, with access to its Redis server."""

    def __init__(self, up: Process, address: str, data_dir: str) -> None:
        self.up = up
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self.stub = ComputeServiceStub(self.channel)
        self.server = redis.Redis(unix_socket_path=f"{data_dir}/ledger.sock")

    def works(self) -> bool:
        """Whether calls of both kinds succeed, and no process was restarted."""
        assert self.stub.Add(AddRequest(x=4, y=6), timeout=30).sum == 10
        assert list(self.stub.Factorial(FactorialRequest(n=5), timeout=30))[-1].digits == "120"
        return not re.search("restarting it|replacing it", self.up.output)


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    with short_folder() as folder:
        env = environment(FOREBAY_DATA_DIR=str(folder / "data"))
        with forebay_up(env=env) as (up, address):
            running = System(up, address, env["FOREBAY_DATA_DIR"])
            yield running
            running.channel.close()
            running.server.close()


@pytest.mark.parametrize("pattern", ["forebay:gateway:*", "forebay:control:*"])
def test_garbage_on_a_channel_is_ignored(system: System, pattern: str) -> None:
    assert system.works()
    channels = system.server.pubsub_channels(pattern)
    assert channels
    for channel in channels:
        for frame in GARBAGE:
            system.server.publish(channel, frame)
    assert system.works()


def test_a_worker_of_another_version_is_skipped(system: System) -> None:
    system.server.zadd(PRESENCE_INDEX, {"strange": 2e9})
    system.server.set(presence_key("strange"), b'{"worker": "strange"}')
    eventually(lambda: "presence can't be read" in system.up.output, "the gateway has seen it")
    assert system.works()
    system.server.zrem(PRESENCE_INDEX, "strange")


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"call": "no-slash", "attempt": 1},
        {"call": "/unknown", "attempt": 1},
        {"call": "/unknown"},
        {"batch": "!!"},
        {"surprise": 1},
    ],
)
def test_a_foreign_task_message_is_ignored(system: System, kwargs: dict[str, object]) -> None:
    from celery import Celery

    with Celery(broker=f"redis+socket://{_socket(system)}") as app:
        app.send_task("add_module.tasks.add", kwargs=kwargs, queue="add", ignore_result=True)
    assert system.works()


class Trap:
    """An object that leaves a trace if it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch unpickled",)


def test_a_pickled_message_is_refused_unread(system: System) -> None:
    wire = json.loads(redis_push(TaskMessage("id", "add_module.tasks.add", "add", 9, {})).message)
    wire["body"] = b64encode(pickle.dumps([[], {"call": Trap()}, {}])).decode()
    wire["content-type"] = "application/x-python-serialize"
    wire["content-encoding"] = "binary"
    system.server.lpush("add", json.dumps(wire))
    assert system.works()
    assert not list(Path(".").glob("**/unpickled"))


def _changed(**changes: Any) -> bytes:
    """A message of ours with other parts; None leaves a part out."""
    wire = json.loads(redis_push(TaskMessage("id", "add_module.tasks.add", "add", 9, {})).message)
    parts = {name: part for name, part in (wire | changes).items() if part is not None}
    return json.dumps(parts).encode()


NO_MESSAGES: dict[str, Callable[[], bytes]] = {
    "no UTF-8": lambda: b"\xff garbage",
    "empty": lambda: b"",
    "no JSON": lambda: b"garbage",
    "a list": lambda: b"[1]",
    "null": lambda: b"null",
    "an empty object": lambda: b"{}",
    "a body that is not base64": lambda: _changed(body="!"),
    "a body that is not a string": lambda: _changed(body=1),
    "no headers": lambda: _changed(headers=None),
    "headers that are a list": lambda: _changed(headers=[]),
    "empty headers": lambda: _changed(headers={}),
    "no properties": lambda: _changed(properties=None),
    "empty properties": lambda: _changed(properties={}),
    "an unknown encoding": lambda: _changed(properties={"body_encoding": "other"}),
}

LOGGED = {
    # Celery's own line, for entries that this application does not see.
    "empty headers": "Received and deleted unknown message",
    # kombu's decoder skips characters that are not base64, so the body is empty.
    "a body that is not base64": "is not begun: its message is not Forebay's: ValueError",
}


@pytest.mark.parametrize("entry", NO_MESSAGES)
def test_an_entry_of_a_queue_that_is_no_message_is_dropped(system: System, entry: str) -> None:
    before = len(system.up.lines)
    system.server.lpush("add", NO_MESSAGES[entry]())
    assert system.works()
    logged = LOGGED.get(entry, "is not a Celery message; it is dropped")
    eventually(lambda: any(logged in line for line in system.up.lines[before:]), logged)
    assert "Unrecoverable" not in system.up.output


def test_a_state_of_a_newer_version_affects_no_list_and_no_other_call(
    system: System,
) -> None:
    call = CallKey("newer")
    metadata = [("forebay-call-id", call.id)]
    system.stub.Add(AddRequest(x=1, y=2), timeout=30, metadata=metadata)
    system.server.hset(f"{call.partition}:call:{call}", "state", "SUSPENDED")
    system.server.zadd(f"{call.partition}:due", {str(call): 1.0})
    operations = operations_pb2_grpc.OperationsStub(system.channel)
    listed = operations.ListOperations(operations_pb2.ListOperationsRequest(name="operations"))
    (operation,) = (one for one in listed.operations if one.name == f"operations/{call.id}")
    found = calls_pb2.CallMetadata()
    operation.metadata.Unpack(found)
    assert found.state == call_pb2.CALL_STATE_UNSPECIFIED
    assert not operation.done
    shown = run("forebay", "ps", "--all", "--target", system.address, env=environment())
    (row,) = (row for row in rows_of(shown.succeeded().out) if row[0] == call.id)
    assert row[2] == "UNSPECIFIED"
    due = f"{call.partition}:due"
    eventually(lambda: system.server.zscore(due, str(call)) != 1.0, "the sweep has skipped it")
    assert system.works()
    assert "the repair failed" not in system.up.output


def rows_of(output: str) -> list[list[str]]:
    """The rows of a table that a command printed."""
    return [line.split("\t") for line in output.splitlines()]


def _socket(system: System) -> str:
    return str(system.server.connection_pool.connection_kwargs["path"])
