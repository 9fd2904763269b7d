"""Garbage where only Forebay writes: nothing ends, and calls go on."""

from __future__ import annotations

import json
import os
import pickle
import re
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import redis

from forebay.compute.v1.compute_pb2 import AddRequest, FactorialRequest
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay_backends.broker.task_messages import TaskMessage, redis_push
from forebay_backends.ledger.keys import PRESENCE_INDEX, presence_key
from tests.harness import Process, environment, eventually, forebay_up, short_folder

GARBAGE = [b"", b"\xff\xff", b"item", b"item /x y\n", b"reply\n\xff\xff", b"end /x GONE\n", b"stop"]


class System:
    """A running `forebay up`, with a way into its server."""

    def __init__(self, up: Process, address: str, data_dir: str) -> None:
        self.up = up
        self.channel = grpc.insecure_channel(address)
        self.stub = ComputeServiceStub(self.channel)
        self.server = redis.Redis(unix_socket_path=f"{data_dir}/ledger.sock")

    def works(self) -> bool:
        """Whether calls of both kinds are answered, and nothing had to be started again."""
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
def test_garbage_on_a_channel_is_passed_over(system: System, pattern: str) -> None:
    assert system.works()
    channels = system.server.pubsub_channels(pattern)
    assert channels
    for channel in channels:
        for frame in GARBAGE:
            system.server.publish(channel, frame)
    assert system.works()


def test_a_worker_of_another_version_is_passed_over(system: System) -> None:
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
def test_a_task_message_that_is_none_of_ours_is_passed_over(
    system: System, kwargs: dict[str, object]
) -> None:
    from celery import Celery

    with Celery(broker=f"redis+socket://{_socket(system)}") as app:
        app.send_task("add_module.tasks.add", kwargs=kwargs, queue="add", ignore_result=True)
    assert system.works()


class Trap:
    """What would show that somebody unpickled a message."""

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


def test_what_is_no_message_at_all_stops_no_worker_for_good(system: System) -> None:
    system.server.lpush("add", b"\xff garbage")
    assert system.stub.Add(AddRequest(x=4, y=6), timeout=30).sum == 10


def _socket(system: System) -> str:
    return str(system.server.connection_pool.connection_kwargs["path"])
