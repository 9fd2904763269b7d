"""The ledger keeps the end of a call until the task that its route names was told of it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from forebay.errors import BackendUnavailable
from forebay.v1 import route_pb2
from forebay_backends import end_notices
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.end_notices import EndNotices
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, REAPING
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import finish
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.operations.calls import Start, cancel, discard, end
from forebay_backends.ledger.operations.ends import (
    TAKEN_FOR_S,
    KeptEnd,
    forget_ends,
    format_end,
    parse_end,
    take_ends,
)
from forebay_backends.ledger.operations.inspection import delete
from forebay_backends.ledger.presence import WorkerPresence
from forebay_backends.ledger.seals import Seals
from forebay_backends.reaper import Reaper
from forebay_backends.signing.keyring import Keyring
from forebay_backends.signing.keys import SigningKeys
from tests.contract.records import QUEUE, Record, accepted, new_key, running, sweep_all

ON_END = route_pb2.OnEnd(task="shop.ended", queue=QUEUE).SerializeToString()
LATER = Start(600.0, is_relative=True)


def kept(ledger: BlockingLedger) -> list[KeptEnd]:
    """All ends; they are taken for a lease."""
    entries = [one for n in range(PARTITIONS) for one in ledger.run(take_ends(n)).entries]
    return [parse_end(entry) for entry in entries]


def lease_over(ledger: BlockingLedger) -> None:
    """As if the process that took ends had died a while ago."""
    for number in range(PARTITIONS):
        name = f"forebay:{{{number}}}:ends"
        for entry in ledger.redis.zrange(name, 0, -1):  # type: ignore[union-attr]
            ledger.redis.zincrby(name, -TAKEN_FOR_S * 1000, entry)


ENDS: dict[str, tuple[Callable[[Record], Operation[Any]], State, str]] = {
    "succeeded": (lambda r: finish(r.call, 1, Event.SUCCEED, "", b""), State.SUCCEEDED, ""),
    "failed": (lambda r: finish(r.call, 1, Event.FAIL, "NO_TEA", b""), State.FAILED, "NO_TEA"),
    "cancelled": (lambda r: cancel(r.call), State.CANCELLED, "CANCELLED"),
    "expired": (lambda r: end(r.call, Event.EXPIRE, "LATE"), State.EXPIRED, "LATE"),
}


@pytest.mark.parametrize("how", ENDS)
def test_an_end_is_kept_with_all_that_the_task_is_told(ledger: BlockingLedger, how: str) -> None:
    operation, state, reason = ENDS[how]
    record = running(ledger, call=new_key("acme"), on_end=ON_END)
    assert ledger.run(operation(record)) is None
    times = [int(record.fields[f"{name}_at"]) for name in ("created", "queued", "begun")]
    finished = int(record.fields["finished_at"])
    assert kept(ledger) == [
        KeptEnd(
            *(record.call, "pkg.Service.Method", state, reason, 1, times[0], 0, times[1]),
            *(times[2], finished, ON_END),
        )
    ]
    assert "on_end" not in record.fields
    ledger.run(operation(record))
    lease_over(ledger)
    assert len(kept(ledger)) == 1, "a call ends once"


def test_a_delayed_call_that_is_cancelled_has_no_time_in_a_queue(ledger: BlockingLedger) -> None:
    record = accepted(ledger, on_end=ON_END, start=LATER)
    ledger.run(cancel(record.call))
    (found,) = kept(ledger)
    assert (found.queued_ms, found.begun_ms) == (0, 0)
    assert found.start_ms == int(record.fields["start_at"])


def test_a_call_whose_deadline_passes_is_told_of_by_the_sweep(ledger: BlockingLedger) -> None:
    record = accepted(ledger, on_end=ON_END, timeout_s=600.0)
    ledger.redis.hset(f"{record.call.partition}:call:{record.call}", "deadline", 1)
    ledger.redis.zadd(f"{record.call.partition}:due", {str(record.call): 1})
    swept = sweep_all(ledger, [QUEUE])
    assert [one.ends for one in swept if one.ends] == [1]
    (found,) = kept(ledger)
    assert (found.state, found.reason) == (State.EXPIRED, "DEADLINE_EXCEEDED")


def test_nothing_is_kept_of_other_calls_nor_of_one_that_never_was(ledger: BlockingLedger) -> None:
    ledger.run(cancel(accepted(ledger).call))
    ledger.run(discard(accepted(ledger, on_end=ON_END).call))
    assert kept(ledger) == []
    assert all(one.ends == 0 for one in sweep_all(ledger))


def test_an_end_outlives_its_record(ledger: BlockingLedger) -> None:
    record = accepted(ledger, on_end=ON_END)
    ledger.run(cancel(record.call))
    ledger.run(delete(record.call))
    assert not record.fields
    assert [found.call for found in kept(ledger)] == [record.call]


def test_another_process_gets_an_end_only_after_a_lease_and_until_it_is_forgotten(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, on_end=ON_END)
    ledger.run(cancel(record.call))
    number = record.call.partition_number
    (entry,) = ledger.run(take_ends(number)).entries
    assert ledger.run(take_ends(number)).entries == []
    assert sweep_all(ledger)[number].ends == 0
    lease_over(ledger)
    taken = ledger.run(take_ends(number))
    assert taken.entries == [entry]
    ledger.run(forget_ends(replace(taken, until_ms=taken.until_ms - 1), [entry]))
    lease_over(ledger)
    taken = ledger.run(take_ends(number))
    assert taken.entries == [entry], "a lease that is over deletes nothing"
    ledger.run(forget_ends(taken, [entry]))
    lease_over(ledger)
    assert kept(ledger) == []


def ended(ledger: BlockingLedger, count: int, on_end: bytes = ON_END) -> list[Record]:
    records = [accepted(ledger, on_end=on_end) for _ in range(count)]
    for record in records:
        ledger.run(cancel(record.call))
    return records


async def test_the_repair_sends_all_messages_and_forgets_them(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    ended(ledger, 20)
    broker = RedisBroker(aio_ledger, is_ledger=True)
    reaper = Reaper(aio_ledger, broker, retention_bytes=1 << 30)
    await reaper.repair([QUEUE])
    assert ledger.redis.llen(QUEUE) == 20
    lease_over(ledger)
    assert kept(ledger) == []
    ledger.redis.delete(REAPING)
    await reaper.repair([QUEUE])
    assert ledger.redis.llen(QUEUE) == 20


class Away(RedisBroker):
    """A broker that does not answer, or has no such queue."""

    answer: bool | None = None

    async def send(self, message: Any) -> bool:
        if self.answer is None:
            raise BackendUnavailable("the broker does not answer")
        return self.answer


@pytest.mark.parametrize("answer", [None, False])
async def test_what_the_broker_does_not_take_is_kept_and_sent_later(
    ledger: BlockingLedger,
    aio_ledger: Ledger,
    answer: bool | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    ended(ledger, 3)
    away = Away(aio_ledger, is_ledger=True)
    away.answer = answer
    notices = EndNotices(aio_ledger, away)
    with caplog.at_level(logging.WARNING):
        await notices.send([1] * PARTITIONS, [])
    assert len(caplog.records) == 1
    assert (f"{QUEUE!r} does not exist" in caplog.text) == (answer is False)
    lease_over(ledger)
    await EndNotices(aio_ledger, RedisBroker(aio_ledger)).send([1] * PARTITIONS, [])
    assert ledger.redis.llen(QUEUE) == 3


async def test_a_message_that_all_workers_of_its_queue_would_drop_is_kept_until_one_has_the_task(
    ledger: BlockingLedger, aio_ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    ended(ledger, 1)
    broker = RedisBroker(aio_ledger, is_ledger=True)
    notices = EndNotices(aio_ledger, broker)
    lacks = WorkerPresence("lacks", (QUEUE,), ("shop.other",), 1, "prefork", "0.1.0")
    elsewhere = WorkerPresence("elsewhere", ("other",), ("shop.ended",), 1, "prefork", "0.1.0")
    with caplog.at_level(logging.WARNING):
        await notices.send([1] * PARTITIONS, [lacks, elsewhere])
    assert ledger.redis.llen(QUEUE) == 0
    assert f"no live worker of the queue {QUEUE!r} has it" in caplog.text
    lease_over(ledger)
    has = replace(elsewhere, queues=("other", QUEUE))
    await notices.send([1] * PARTITIONS, [lacks, has])
    assert ledger.redis.llen(QUEUE) == 1


async def test_with_signing_keys_only_tasks_of_routes_are_told(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    """Whoever writes to the ledger can't have a gateway sign a message for another task."""
    refused: list[str] = []
    seals = Seals(Keyring(SigningKeys({"k": b"k" * 32}), on_refused=refused.append))
    aio_ledger.seals = seals
    call = new_key()
    sealed = seals.keyring.seal(ON_END, "task of the end", call, "pkg.Service.Method")
    ledger.run(cancel(accepted(ledger, call=call, on_end=sealed).call))
    moved = sealed  # of another call
    ended(ledger, 1, on_end=moved)
    ended(ledger, 1, on_end=ON_END)
    ledger.redis.zadd("forebay:{3}:ends", {b"nonsense": 1})
    await EndNotices(aio_ledger, RedisBroker(aio_ledger, keyring=seals.keyring)).send(
        [1] * PARTITIONS, []
    )
    assert ledger.redis.llen(QUEUE) == 1
    assert sorted(refused) == ["altered", "unsigned"]
    lease_over(ledger)
    assert all(ledger.run(take_ends(n)).entries == [] for n in range(PARTITIONS))


def test_an_entry_that_no_script_made_is_refused() -> None:
    good = b"/a m SUCCEEDED - 1 1 0 1 1 2\n" + ON_END
    parsed = parse_end(good)
    assert format_end(parsed) == good
    assert replace(parsed, on_end=b"").reason == ""
    for bad in (b"", b"x", good.replace(b"SUCCEEDED", b"DREAMING"), good.replace(b"/a", b"a")):
        with pytest.raises(ValueError):  # noqa: PT011 - of several kinds
            parse_end(bad)


async def test_a_sweep_without_time_for_all_partitions_goes_on_where_the_last_one_gave_up(
    ledger: BlockingLedger, aio_ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Messages that can't be sent do not hold up those of other partitions."""
    monkeypatch.setattr(end_notices, "_MOST_S", 0.0)
    partitions = {record.call.partition_number for record in ended(ledger, 20)}
    notices = EndNotices(aio_ledger, RedisBroker(aio_ledger, is_ledger=True))
    for _ in partitions:
        await notices.send([int(n in partitions) for n in range(PARTITIONS)], [])
    assert ledger.redis.llen(QUEUE) == 20


async def test_each_task_that_no_worker_of_its_queue_has_is_warned_of(
    ledger: BlockingLedger, aio_ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    for task in ("shop.ended", "shop.packed"):
        ended(ledger, 2, on_end=route_pb2.OnEnd(task=task, queue=QUEUE).SerializeToString())
    lacks = WorkerPresence("lacks", (QUEUE,), ("shop.other",), 1, "prefork", "0.1.0")
    with caplog.at_level(logging.WARNING):
        await EndNotices(aio_ledger, RedisBroker(aio_ledger)).send([1] * PARTITIONS, [lacks])
    assert sorted(line.getMessage().split()[2] for line in caplog.records) == [
        "shop.ended",
        "shop.packed",
    ]
