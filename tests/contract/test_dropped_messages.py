"""Messages whose task a worker has not registered: they are resent, or their calls fail."""

from __future__ import annotations

import json
from base64 import b64decode
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from forebay.errors import BackendUnavailable
from forebay.errors.status import from_status
from forebay.v1 import call_pb2, route_pb2
from forebay_backends.broker.end_messages import end_message
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.broker.task_messages import (
    TaskMessage,
    batch_message,
    call_message,
    calls_message,
)
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Reply, parse_frame
from forebay_backends.ledger.keys import CallKey
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import begin
from forebay_backends.ledger.operations.calls import cancel
from forebay_backends.ledger.operations.ends import forget_ends, parse_end, take_ends
from forebay_backends.ledger.presence import WorkerPresence, announce
from forebay_backends.ledger.seals import Seals
from forebay_backends.settings import Settings
from forebay_backends.signing.keyring import NO_KEYS, Keyring
from forebay_backends.signing.keys import SigningKeys
from forebay_gateway.rpc.outcomes import error_of_ending
from forebay_workers.lease import unregistered_tasks as unregistered
from forebay_workers.lease.keeper import LeaseKeeper
from forebay_workers.lease.unregistered_tasks import DroppedMessages
from tests.contract.channel import Channel
from tests.contract.records import OTHER_WORKER, QUEUE, WORKER, Record, accepted, new_key, running
from tests.harness import free_port
from tests.unit.backends.broker.test_end_messages import END

TASK = "pkg.tasks.method"
ON_END = route_pb2.OnEnd(task=TASK, queue=QUEUE)
ABLE = WorkerPresence(OTHER_WORKER, (QUEUE,), (TASK,), 1, "prefork", "0.1.0")


@pytest.fixture(params=["redis", "amqp"])
def redis_broker(request: pytest.FixtureRequest) -> bool:
    """Whether the broker's priorities are Redis's, which are inverted."""
    return bool(request.param == "redis")


@pytest.fixture
def dropped(redis_broker: bool) -> DroppedMessages:
    return DroppedMessages(redis_broker=redis_broker)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the grace in which workers may appear."""
    monkeypatch.setattr(unregistered, "START_GRACE_S", 0.0)


def arrived(message: TaskMessage, redis_broker: bool = True) -> Any:
    """The message in the form that Celery's signal passes."""
    priority = message.priority or 0
    return SimpleNamespace(
        headers=message.headers,
        payload=message.payload,
        properties={"priority": 9 - priority if redis_broker else priority},
        delivery_info={"exchange": "", "routing_key": "another queue"},
    )


def message_of(record: Record, priority: int = 0, traceparent: str = "") -> TaskMessage:
    address = {"task": TASK, "queue": QUEUE}
    return call_message(record.call, 1, **address, priority=priority, traceparent=traceparent)


def sent(ledger: BlockingLedger, priority: int = 0) -> list[dict[str, Any]]:
    """The keyword arguments of the messages in the queue."""
    name = QUEUE if priority == 9 else f"{QUEUE}\x06\x16{9 - priority}"
    wires = [json.loads(raw) for raw in ledger.redis.lrange(name, 0, -1)]  # type: ignore[union-attr]
    return [json.loads(b64decode(wire["body"]))[1] for wire in wires]


async def resend_or_fail(dropped: DroppedMessages, ledger: Ledger) -> None:
    await dropped.resend_or_fail(ledger, RedisBroker(ledger, is_ledger=True), WORKER)


@pytest.mark.usefixtures("at_once")
async def test_a_call_that_no_worker_can_run_fails_with_task_unknown(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages
) -> None:
    record = accepted(ledger)
    dropped.on_task_unknown(arrived(message_of(record)), TASK, QUEUE)
    await announce(aio_ledger, replace(ABLE, worker=WORKER))  # the worker itself does not count
    await announce(aio_ledger, replace(ABLE, worker="elsewhere", queues=("other",)))
    await resend_or_fail(dropped, aio_ledger)
    assert record.state is State.FAILED
    error = error_of_ending(record.ending(), may_run_again=False)
    assert error is not None
    assert (error.code_name, error.reason) == ("UNIMPLEMENTED", "TASK_UNKNOWN")
    assert sent(ledger) == []


async def test_a_message_is_resent_if_another_worker_has_the_task(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, redis_broker: bool
) -> None:
    record = accepted(ledger, priority=9)
    message = message_of(record, 9, "00-4bf9")
    dropped.on_task_unknown(arrived(message, redis_broker), TASK, QUEUE)
    await announce(aio_ledger, ABLE)
    await resend_or_fail(dropped, aio_ledger)
    await resend_or_fail(dropped, aio_ledger)
    named = {"call": str(record.call), "attempt": 1, "traceparents": ["00-4bf9"]}
    assert sent(ledger, 9) == [named]
    assert record.state is State.QUEUED


async def test_a_worker_that_starts_within_the_grace_gets_the_call(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, redis_broker: bool
) -> None:
    record = accepted(ledger)
    dropped.on_task_unknown(arrived(message_of(record), redis_broker), TASK, QUEUE)
    await resend_or_fail(dropped, aio_ledger)
    assert (record.state, sent(ledger)) == (State.QUEUED, [])
    await announce(aio_ledger, ABLE)
    await resend_or_fail(dropped, aio_ledger)
    assert len(sent(ledger)) == 1


@pytest.mark.usefixtures("at_once")
async def test_a_call_that_another_message_started_elsewhere_continues(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages
) -> None:
    record = accepted(ledger)
    ledger.run(begin(record.call, 1, OTHER_WORKER, "control"))
    again = running(ledger)
    dropped.on_task_unknown(arrived(message_of(record)), TASK, QUEUE)
    dropped.on_task_unknown(arrived(message_of(again)), TASK, QUEUE)
    await resend_or_fail(dropped, aio_ledger)
    assert (record.state, again.state) == (State.RUNNING, State.RUNNING)


@pytest.mark.usefixtures("at_once")
async def test_all_calls_of_a_message_fail(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages
) -> None:
    records = [accepted(ledger), accepted(ledger)]
    calls = [record.call for record in records]
    message = calls_message("several", calls, task=TASK, queue=QUEUE, priority=0)
    dropped.on_task_unknown(arrived(message), TASK, QUEUE)
    await resend_or_fail(dropped, aio_ledger)
    assert [record.state for record in records] == [State.FAILED, State.FAILED]


def batch(channel: str) -> TaskMessage:
    members = [call_pb2.BatchMember(call_id=call_id) for call_id in ("one", "two")]
    content = call_pb2.Batch(members=members, reply_channel=channel).SerializeToString()
    return batch_message("batch", content, task=TASK, queue=QUEUE, priority=0)


@pytest.mark.usefixtures("at_once")
async def test_ephemeral_calls_get_a_reply(
    channel: Channel, aio_ledger: Ledger, dropped: DroppedMessages
) -> None:
    dropped.on_task_unknown(arrived(batch(channel.name)), TASK, QUEUE)
    await resend_or_fail(dropped, aio_ledger)
    (frame,) = channel.received()
    _, reply = parse_frame(frame)
    assert isinstance(reply, Reply)
    answers = call_pb2.BatchReply.FromString(reply.payload).members
    assert [answer.call_id for answer in answers] == ["one", "two"]
    assert {from_status(answer.outcome.code, "", None).code_name for answer in answers} == {
        "UNIMPLEMENTED"
    }


async def test_a_batch_is_resent_if_another_worker_has_the_task(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, redis_broker: bool
) -> None:
    message = batch("nobody")
    dropped.on_task_unknown(arrived(message, redis_broker), TASK, QUEUE)
    await announce(aio_ledger, ABLE)
    await resend_or_fail(dropped, aio_ledger)
    assert sent(ledger) == [message.kwargs]


@pytest.mark.parametrize("keyring", [NO_KEYS, Keyring(SigningKeys({"k": b"k" * 32}))])
async def test_the_end_of_a_call_goes_back_to_the_ledger_and_its_message_is_sent_again(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, keyring: Keyring
) -> None:
    aio_ledger.seals = Seals(keyring)
    on_end = route_pb2.OnEnd(task=TASK, queue=QUEUE)
    call = new_key("acme")
    sealed = aio_ledger.seals.seal_on_end(call, "pkg.Service.Method", on_end.SerializeToString())
    ledger.run(cancel(accepted(ledger, call=call, on_end=sealed).call))
    taken = ledger.run(take_ends(call.partition_number))
    (entry,) = taken.entries
    ledger.run(forget_ends(taken, [entry]))
    dropped.on_task_unknown(arrived(end_message(parse_end(entry), on_end)), TASK, QUEUE)
    await dropped.restore_ends(aio_ledger)
    await dropped.restore_ends(aio_ledger)  # nothing is left
    assert ledger.run(take_ends(call.partition_number)).entries == [entry]
    dropped.log_lost_ends()


async def test_an_end_that_comes_back_before_its_sender_forgets_it_is_kept(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages
) -> None:
    call = accepted(ledger, on_end=ON_END.SerializeToString()).call
    ledger.run(cancel(call))
    taken = ledger.run(take_ends(call.partition_number))
    (entry,) = taken.entries
    dropped.on_task_unknown(arrived(end_message(parse_end(entry), ON_END)), TASK, QUEUE)
    await dropped.restore_ends(aio_ledger)
    assert ledger.redis.zcard(f"{call.partition}:ends") == 1
    ledger.run(forget_ends(taken, [entry]))
    assert ledger.run(take_ends(call.partition_number)).entries == [entry]


async def test_ends_that_the_ledger_does_not_take_are_kept_and_logged_when_the_worker_stops(
    dropped: DroppedMessages, caplog: pytest.LogCaptureFixture
) -> None:
    dropped.on_task_unknown(arrived(end_message(END, ON_END)), TASK, QUEUE)
    away = Ledger(f"redis://127.0.0.1:{free_port()}/0")
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await dropped.restore_ends(away)
    await away.close()
    assert f"the end of a call goes back to the ledger, until a worker of queue {QUEUE!r}" in (
        caplog.text
    )
    caplog.clear()
    dropped.log_lost_ends()
    assert "no task is told of the ends of acme/order-7" in caplog.text


@pytest.mark.parametrize("strange", [{"method": "\ud800"}, {"method": "a b"}, {"method": 7}])
async def test_an_end_of_no_call_holds_up_no_other(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, strange: dict[str, Any]
) -> None:
    good = end_message(END, ON_END)
    for argument in (good.args[0] | strange, good.args[0]):
        dropped.on_task_unknown(arrived(replace(good, args=(argument,))), TASK, QUEUE)
    await dropped.restore_ends(aio_ledger)
    assert ledger.redis.zcard(f"{END.call.partition}:ends") == 1


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize(
    "kwargs", [{"call": "no key", "attempt": 1}, {"batch": "!"}, {"call": "/x"}, {"calls": [7]}]
)
async def test_messages_of_others_are_ignored(
    ledger: BlockingLedger, aio_ledger: Ledger, dropped: DroppedMessages, kwargs: dict[str, Any]
) -> None:
    strange = TaskMessage("id", TASK, QUEUE, 0, kwargs)
    dropped.on_task_unknown(arrived(strange), TASK, QUEUE)
    foreign = arrived(call_message(CallKey("x"), 1, task=TASK, queue=QUEUE, priority=0))
    foreign.headers = foreign.headers | {"origin": "gen1@host"}
    dropped.on_task_unknown(foreign, TASK, QUEUE)
    await resend_or_fail(dropped, aio_ledger)
    assert sent(ledger) == []


@pytest.mark.parametrize("ledger_is_away", [False, True])
def test_a_worker_that_stops_stores_its_ends_or_logs_that_they_are_lost(
    ledger: BlockingLedger, ledger_url: str, ledger_is_away: bool, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0" if ledger_is_away else ledger_url
    keeper = LeaseKeeper(replace(ABLE, worker=WORKER), Settings(ledger_url=url))
    keeper.dropped.on_task_unknown(arrived(end_message(END, ON_END)), TASK, QUEUE)
    keeper._closing.set()  # before the keeper's periodic duties begin
    keeper.start()
    keeper.close()
    assert ledger.redis.zcard(f"{END.call.partition}:ends") == (0 if ledger_is_away else 1)
    assert ("no task is told of the ends of acme/order-7" in caplog.text) is ledger_is_away
