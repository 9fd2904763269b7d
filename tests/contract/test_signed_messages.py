"""With signing keys, whoever writes to broker and ledger runs no task and makes no result.

Each test sends what an attacker would, then something genuine. A worker takes a queue's messages in
their order, so that what has come by then is all that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.v1 import call_pb2
from forebay_backends.broker.base import make_broker
from forebay_backends.broker.task_messages import TaskMessage, batch_message
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.seals import Seals
from forebay_backends.signing.keyring import Keyring
from tests.contract.channel import Channel
from tests.contract.systems import backends_of
from tests.harness import Process, environment, eventually, forebay_gateway, worker

CALL_S = 20.0
ADD = "forebay.compute.v1.ComputeService/Add"


def keys_file(folder: Path, *names: str) -> Path:
    """A file with keys of these names; a name always stands for the same key."""
    path = folder / "signing.toml"
    lines = [f'{name} = "{b64encode(name.encode() * 32)[:44].decode()}"\n' for name in names]
    path.write_text("".join(["[keys]\n", *lines]))
    path.chmod(0o600)
    return path


@dataclass(frozen=True)
class Site:
    """A gateway and a worker with keys, and access to their servers."""

    variables: dict[str, str]
    stub: ComputeServiceStub
    gateway: Process
    worker: Process
    keyring: Keyring

    @contextlib.contextmanager
    def ledger(self) -> Iterator[BlockingLedger]:
        with contextlib.closing(BlockingLedger(backends_of(self.variables).ledger)) as ledger:
            yield ledger

    def send(self, *messages: TaskMessage, keyring: Keyring | None = None) -> None:
        """Sends messages as a gateway would; without `keyring`, they are not signed."""
        asyncio.run(self._send(messages, keyring))

    async def _send(self, messages: tuple[TaskMessage, ...], keyring: Keyring | None) -> None:
        on = backends_of(self.variables)
        ledger = Ledger(on.ledger, seals=Seals(keyring or Keyring()))
        broker = make_broker(on, ledger)
        for message in messages:
            await broker.send(message)
        await broker.close()
        await ledger.close()


@pytest.fixture(scope="module", params=("redis", "rabbitmq+redis"))
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("keys")
    path = keys_file(folder, "new", "old")
    variables = {
        "FOREBAY_LEDGER_URL": f"{request.getfixturevalue('redis_url')}7",
        "FOREBAY_SIGNING_KEYS": str(path),
    }
    if request.param == "rabbitmq+redis":
        variables["FOREBAY_BROKER_URL"] = request.getfixturevalue("rabbitmq").url("dispatch")
    env = environment(**variables)
    with (
        forebay_gateway(env=env) as (gateway, address),
        worker("-Q", "add,factorial", "-c", "1", env=env) as running,
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        keyring = Keyring.read(path, required=True)
        yield Site(variables, stub, gateway, running, keyring)


def batch_of(channel: str, queue: str = "add") -> TaskMessage:
    """An ephemeral call, whose reply comes to the channel."""
    batch = call_pb2.Batch(reply_channel=channel, method=ADD)
    begin_by_ms = round((time.time() + 600) * 1000)
    request = pb.AddRequest(x=1, y=2).SerializeToString()
    batch.members.add(call_id=str(uuid.uuid4()), request=request, begin_by_ms=begin_by_ms)
    content = batch.SerializeToString()
    message_id = str(uuid.uuid4())
    return batch_message(
        message_id, content, task=ADD, queue=queue, priority=0, expires_ms=begin_by_ms
    )


def replies(site: Site, channel: Channel, count: int) -> list[bytes]:
    """The frames that came over the channel, when there are `count` of them."""
    frames: list[bytes] = []
    eventually(
        lambda: len(frames) >= count if (frames.extend(channel.received()) or True) else False,
        f"{count} replies",
        CALL_S,
    )
    return frames


def test_calls_of_every_kind_work(site: Site) -> None:
    for metadata in ((), (("forebay-call-id", str(uuid.uuid4())),)):
        request = pb.AddRequest(x=4, y=6)
        assert site.stub.Add(request, timeout=CALL_S, metadata=metadata).sum == 10
    assert len(list(site.stub.Factorial(pb.FactorialRequest(n=30), timeout=CALL_S))) >= 1
