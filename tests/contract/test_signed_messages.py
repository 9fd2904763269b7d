"""With signing keys, whoever writes to broker and ledger runs no task and makes no result.

Each test sends what an attacker would, then something genuine. A worker takes a queue's messages in
their order, so that what has come by then is all that came.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
import urllib.request
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from celery import Celery

from forebay.compute.v1 import compute_pb2 as pb
from forebay.compute.v1.compute_pb2_grpc import ComputeServiceStub
from forebay.v1 import call_pb2
from forebay_backends.broker.base import make_broker
from forebay_backends.broker.task_messages import TaskMessage, batch_message
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Reply, parse_frame, reply_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import begin, emit, finish
from forebay_backends.ledger.operations.base import Refused
from forebay_backends.ledger.seals import Seals
from forebay_backends.signing.keyring import Keyring
from forebay_backends.signing.keys import SigningKeys, parse_keys
from forebay_backends.signing.task_signatures import task_signature
from forebay_backends.urls import celery_settings
from tests.contract.channel import Channel
from tests.contract.systems import backends_of
from tests.harness import Process, environment, eventually, forebay_gateway, free_port, worker

pytestmark = pytest.mark.variant

CALL_S = 20.0
ADD = "forebay.compute.v1.ComputeService.Add"
TASK = "add_module.tasks.add"


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
    metrics = ("--metrics", f"127.0.0.1:{free_port()}")
    with (
        forebay_gateway(env=env) as (gateway, address),
        worker("-Q", "add,factorial", "-c", "1", *metrics, env=env) as running,
        grpc.insecure_channel(address) as channel,
    ):
        stub = ComputeServiceStub(channel)
        keyring = Keyring.read(path, required=True)
        yield Site(variables, stub, gateway, running, keyring)


def batch_of(channel: str, queue: str = "add") -> TaskMessage:
    """An ephemeral call, whose reply comes to the channel; a broker may get it several times."""
    batch = call_pb2.Batch(reply_channel=channel, method=ADD)
    begin_by_ms = round((time.time() + 600) * 1000)
    request = pb.AddRequest(x=1, y=2).SerializeToString()
    batch.members.add(call_id=str(uuid.uuid4()), request=request, begin_by_ms=begin_by_ms)
    content = batch.SerializeToString()
    return batch_message(
        str(uuid.uuid4()),
        content,
        task=TASK,
        queue=queue,
        priority=0,
        expires_ms=begin_by_ms,
        may_run_again=True,
    )


def runs(site: Site, *sent: tuple[TaskMessage, Keyring | None]) -> list[str]:
    """Sends the messages, then a genuine one; the ids of all calls that were run, in order."""
    with site.ledger() as ledger, Channel(ledger, "replies") as channel:
        addressed = [(readdressed(message, channel.name), keyring) for message, keyring in sent]
        last = batch_of(channel.name)
        for message, keyring in (*addressed, (last, site.keyring)):
            site.send(message, keyring=keyring)
        ran: list[str] = []

        def last_ran() -> bool:
            for frame in channel.received():
                opened, _ = Seals(site.keyring).open_frame(frame)
                _, reply = parse_frame(opened)
                if isinstance(reply, Reply):
                    members = call_pb2.BatchReply.FromString(reply.payload).members
                    ran.extend(member.call_id for member in members)
            return call_of(last) in ran

        eventually(last_ran, "the genuine message is answered", CALL_S)
        ran.remove(call_of(last))
        return ran


def readdressed(message: TaskMessage, channel: str) -> TaskMessage:
    """The batch with this channel for its replies."""
    batch = call_pb2.Batch.FromString(b64decode(message.kwargs["batch"]))
    batch.reply_channel = channel
    return replace(message, kwargs={"batch": b64encode(batch.SerializeToString()).decode()})


def call_of(message: TaskMessage) -> str:
    return call_pb2.Batch.FromString(b64decode(message.kwargs["batch"])).members[0].call_id


def count(site: Site, reason: str) -> float:
    """How many messages the worker has refused for the reason."""
    address = site.worker.wait_for(r"metrics on (http://)?(\S+)")[2]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=CALL_S) as answer:
        text = answer.read().decode()
    name = re.escape(f'forebay_messages_refused_total{{reason="{reason}"}}')
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0


@dataclass(frozen=True)
class Altered(TaskMessage):
    """A message whose body is another one than was signed."""

    @property
    def headers(self) -> dict[str, Any]:
        return {**super().headers, **self.stolen}

    stolen: dict[str, str] = field(default_factory=dict)


def with_signature_of(message: TaskMessage, signed: TaskMessage, keyring: Keyring) -> TaskMessage:
    """The message with the signature of another one."""
    stolen = task_signature(
        keyring, signed.body, signed.task, signed.id, signed.queue, signed.expires_ms
    )
    given = {one.name: getattr(message, one.name) for one in fields(TaskMessage)}
    return Altered(**given, stolen=stolen)


def test_calls_of_every_kind_work(site: Site) -> None:
    for metadata in ((), (("forebay-call-id", str(uuid.uuid4())),)):
        request = pb.AddRequest(x=4, y=6)
        assert site.stub.Add(request, timeout=CALL_S, metadata=metadata).sum == 10
    assert len(list(site.stub.Factorial(pb.FactorialRequest(n=30), timeout=CALL_S))) >= 1


def test_a_message_without_a_signature_is_not_run(site: Site) -> None:
    before = count(site, "unsigned")
    assert runs(site, (batch_of(""), None)) == []
    assert count(site, "unsigned") == before + 1


def test_a_message_of_a_stranger_is_not_run(site: Site, tmp_path: Path) -> None:
    stranger = Keyring.read(keys_file(tmp_path, "stranger"), required=True)
    # Of the same name, but another key.
    forger = Keyring(SigningKeys({"new": b"?" * 32}))
    unknown, altered = count(site, "unknown key"), count(site, "altered")
    assert runs(site, (batch_of(""), stranger), (batch_of(""), forger)) == []
    assert (count(site, "unknown key"), count(site, "altered")) == (unknown + 1, altered + 1)


def test_an_altered_message_is_not_run(site: Site) -> None:
    before = count(site, "altered")
    genuine = batch_of("")
    for forged in (
        batch_of(""),  # another body under the signature
        replace(genuine, id=str(uuid.uuid4())),  # to be run again under another id
        replace(genuine, task="factorial_module.tasks.factorial"),
    ):
        assert runs(site, (with_signature_of(forged, genuine, site.keyring), None)) == []
    assert count(site, "altered") == before + 3


def test_a_message_of_another_queue_is_not_run(site: Site) -> None:
    """Of a queue that the worker consumes, too."""
    before = count(site, "altered")
    genuine = batch_of("", queue="factorial")
    moved = with_signature_of(replace(genuine, queue="add"), genuine, site.keyring)
    assert runs(site, (moved, None)) == []
    assert count(site, "altered") == before + 1


def test_a_replayed_message_is_not_run_again(site: Site) -> None:
    before = count(site, "replayed")
    genuine = batch_of("")
    ran = runs(site, (genuine, site.keyring), (genuine, site.keyring), (genuine, site.keyring))
    assert ran == [call_of(genuine)]
    assert count(site, "replayed") == before + 2


def test_an_old_key_verifies(site: Site) -> None:
    path = Path(site.variables["FOREBAY_SIGNING_KEYS"])
    old = Keyring(SigningKeys({"old": parse_keys(path.read_text()).secrets["old"]}))
    message = batch_of("")
    assert runs(site, (message, old)) == [call_of(message)]


def test_tasks_that_celery_brings_along_are_not_run_either(site: Site) -> None:
    """`celery.map` calls another task, here with an attacker's batch."""
    inner = batch_of("attacker")
    signature = {"task": TASK, "args": [], "kwargs": {}, "options": {}, "subtask_type": None}
    forged = replace(
        inner, task="celery.map", kwargs={"task": signature, "it": [inner.kwargs["batch"]]}
    )
    before = count(site, "unsigned")
    assert runs(site) == []
    site.send(forged)
    assert runs(site) == []
    assert count(site, "unsigned") == before + 1


def test_remote_control_does_not_end_the_worker(site: Site) -> None:
    with Celery(set_as_current=False) as app:
        app.config_from_object(celery_settings(backends_of(site.variables)))
        assert not app.control.ping(timeout=1.0)
        app.control.broadcast("shutdown")
        assert runs(site) == []
    assert site.worker.popen.poll() is None
    assert "shutdown" not in site.worker.output.lower()


@dataclass(frozen=True)
class Pending:
    """A call that waits for a worker, which the test plays."""

    call: CallKey
    responses: Any
    channel: str
    ledger: BlockingLedger

    def begin(self, ledger: BlockingLedger) -> None:
        begun = ledger.run(begin(self.call, 1, "worker", "test:control"))
        assert not isinstance(begun, Refused)

    def end(self, ledger: BlockingLedger, count: int) -> None:
        outcome = ledger.seals.outcome(self.call, State.SUCCEEDED, count, b"")
        ledger.run(finish(self.call, 1, Event.SUCCEED, "", outcome))

    def outcome(self) -> tuple[grpc.StatusCode, list[int]]:
        """The status, and the ordinals that are in the items."""
        rows: list[int] = []
        try:
            rows.extend(response.header.rows for response in self.responses)
        except grpc.RpcError as error:
            return error.code(), rows
        return grpc.StatusCode.OK, rows


@pytest.fixture
def pending(site: Site) -> Iterator[Pending]:
    call = CallKey(str(uuid.uuid4()))
    with site.ledger() as ledger:
        responses = site.stub.MatMul(
            iter([pb.MatMulRequest(random=pb.RandomOperands(m=1, n=1))]),
            timeout=CALL_S,
            metadata=(("forebay-call-id", call.id),),
        )
        state = lambda: ledger.redis.hget(call.record, "state")  # noqa: E731
        eventually(lambda: state() == b"QUEUED", "the call waits for a worker", CALL_S)
        watchers = ledger.redis.hget(call.record, "watchers").decode()
        yield Pending(call, responses, watchers.split()[1], ledger)
        responses.cancel()


def item(number: int) -> bytes:
    header = pb.MatrixHeader(rows=number)
    return pb.MatMulResponse(header=header).SerializeToString()


def signing(site: Site) -> contextlib.AbstractContextManager[BlockingLedger]:
    """What a worker with the keys writes by."""
    server = backends_of(site.variables).ledger
    return contextlib.closing(BlockingLedger(server, seals=Seals(site.keyring)))


def test_forged_frames_reach_no_caller(site: Site, pending: Pending) -> None:
    forged = Keyring(SigningKeys({"new": b"?" * 32}))
    name = str(pending.call)
    end = f"end {name} SUCCEEDED - 1 1 0 0 -\n".encode()
    with signing(site) as ledger:
        pending.begin(ledger)
        for frame in (
            f"item {name} 0\n".encode() + item(666),
            f"item {name} 0\n".encode() + forged.seal(item(666), "item", pending.call, 0),
            # Genuine, but the item of another place, and of another call.
            f"item {name} 0\n".encode() + site.keyring.seal(item(666), "item", pending.call, 1),
            f"item {name} 0\n".encode() + site.keyring.seal(item(666), "item", CallKey("a"), 0),
            f"stored {name} 1000000 1\n".encode(),
            f"transient {name}\n".encode() + item(666),
            end,
            end + call_pb2.Outcome(message="forged").SerializeToString(),
            f"end {name} CANCELLED CANCELLED 0 1 0 0 -\n".encode(),
            f"end {name} FAILED WORKER_LOST 0 1 0 0 -\n".encode(),
        ):
            pending.ledger.publish(pending.channel, frame)
        ledger.run(emit(pending.call, 1, 0, ledger.seals.item(pending.call, 0, item(1))))
        pending.end(ledger, 1)
    assert pending.outcome() == (grpc.StatusCode.OK, [1])


def test_forged_frames_of_workers_end_no_ephemeral_call(site: Site, pending: Pending) -> None:
    reply = call_pb2.BatchReply()
    reply.members.add(call_id="anything", response=b"forged")
    for frame in (reply_frame(reply.SerializeToString()), b"lost x\n", b"heartbeat w running x\n"):
        pending.ledger.publish(pending.channel, frame)
    site.gateway.wait_for("a message is refused: the frame of a worker has no signature")


@pytest.mark.parametrize("forged", ["item", "moved item", "outcome", "no outcome", "fewer items"])
def test_what_was_altered_in_the_ledger_reaches_no_caller(
    site: Site, pending: Pending, forged: str
) -> None:
    call, attacker = pending.call, pending.ledger
    with signing(site) as ledger:
        pending.begin(ledger)
        items = [ledger.seals.item(call, number, item(number)) for number in range(2)]
        if forged == "item":
            items[1] = item(666)
        elif forged == "moved item":
            items.reverse()
        elif forged == "fewer items":
            del items[1]
        for ordinal, sealed in enumerate(items):
            attacker.run(emit(call, 1, ordinal, sealed))
        if forged == "outcome":
            bare = call_pb2.Outcome(message="forged").SerializeToString()
            attacker.run(finish(call, 1, Event.SUCCEED, "", bare))
        elif forged == "no outcome":
            attacker.run(finish(call, 1, Event.SUCCEED, "", b""))
        else:
            pending.end(ledger, 2)
    code, rows = pending.outcome()
    assert code is grpc.StatusCode.DATA_LOSS
    assert rows in ([], [0], [0, 1])


def test_a_request_that_was_altered_in_the_ledger_is_not_run(site: Site) -> None:
    """The call waits, while its worker is busy, and is altered."""
    call = CallKey(str(uuid.uuid4()))
    request = pb.FactorialRequest(n=3)
    metadata = (("forebay-call-id", call.id),)
    with site.ledger() as ledger:
        long = site.stub.Factorial(pb.FactorialRequest(n=300_000), timeout=CALL_S)
        next(iter(long))
        responses = site.stub.Factorial(request, timeout=CALL_S, metadata=metadata)
        eventually(lambda: bool(ledger.redis.exists(call.record)), "the call is accepted", CALL_S)
        ledger.redis.hset(call.record, "request", pb.FactorialRequest(n=4).SerializeToString())
        long.cancel()
        with pytest.raises(grpc.RpcError) as caught:
            list(responses)
    assert caught.value.code() is grpc.StatusCode.DATA_LOSS


def test_a_forged_stop_ends_no_handler(site: Site) -> None:
    call = CallKey(str(uuid.uuid4()))
    metadata = (("forebay-call-id", call.id),)
    with site.ledger() as ledger:
        responses = site.stub.Factorial(
            pb.FactorialRequest(n=200_000), timeout=CALL_S, metadata=metadata
        )
        first = next(iter(responses))
        record = ledger.redis.hgetall(call.record)
        for channel in (record[b"control_channel"], b"forebay:control:" + record[b"worker"]):
            ledger.redis.publish(channel, f"stop {call} 1 CANCELLED")
        assert first
        assert list(responses)
