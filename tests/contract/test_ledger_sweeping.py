"""The sweep: it ends overdue calls, drops expired records, and leaves nothing behind."""

from __future__ import annotations

import re
from typing import cast

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PARTITIONS, CallKey
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    release,
    send_initial_metadata,
)
from forebay_backends.ledger.operations.base import Lapse, Operation, Push, Refusal, Refused
from forebay_backends.ledger.operations.calls import (
    CallSnapshot,
    ExistingCall,
    accept,
    cancel,
    leave,
    watch,
)
from forebay_backends.ledger.operations.maintenance import evict, sweep
from forebay_backends.ledger.operations.requests import complete, receive
from forebay_backends.ledger.scripts import RECORD_BYTES
from tests.contract.records import (
    NOBODY,
    QUEUE,
    WORKER,
    Record,
    accepted,
    new_call,
    new_key,
    running,
    sweep_all,
)
from tests.harness import eventually


def finished(ledger: BlockingLedger, *items: bytes, **changes: object) -> Record:
    """A call that has succeeded with these items."""
    record = running(ledger, **changes)
    for ordinal, item in enumerate(items):
        ledger.run(emit(record.call, 1, ordinal, item))
    assert ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"")) is None
    return record


def held(ledger: BlockingLedger) -> int:
    return sum(swept.held_bytes for swept in sweep_all(ledger))


@pytest.mark.parametrize("state", [State.RECEIVING, State.QUEUED, State.RUNNING])
def test_a_call_ends_at_its_deadline_in_any_state(ledger: BlockingLedger, state: State) -> None:
    changes = {"timeout_s": 0.3, "receiving": state is State.RECEIVING}
    record = running(ledger, **changes) if state is State.RUNNING else accepted(ledger, **changes)
    assert record.state is state

    def expired() -> bool:
        sweep_all(ledger)
        return record.state is State.EXPIRED

    eventually(expired, "it expires")
    assert record.ending().reason == "DEADLINE_EXCEEDED"
    assert float(record.fields["finished_at"]) >= float(record.fields["deadline"])


def test_a_run_ends_when_its_time_is_used_up(ledger: BlockingLedger) -> None:
    record = running(ledger, run_limit_s=0.05)

    def expired() -> bool:
        sweep_all(ledger)
        return record.state is State.EXPIRED

    eventually(expired, "it expires")


@pytest.mark.parametrize(
    ("consumed", "reason"),
    [((), "NO_WORKERS"), (("other",), "NO_WORKERS"), ((QUEUE,), "QUEUE_WAIT")],
)
def test_a_call_that_does_not_begin_in_time_fails_with_the_reason(
    ledger: BlockingLedger, consumed: tuple[str, ...], reason: str
) -> None:
    record = accepted(ledger, queue_wait_s=0.05)

    def failed() -> bool:
        sweep_all(ledger, consumed)
        return record.state is State.FAILED

    eventually(failed, "it fails")
    assert record.ending().reason == reason


def test_a_call_that_its_worker_gives_back_waits_no_longer_than_others(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, queue_wait_s=0.05, timeout_s=None, may_run_again=True)
    assert ledger.run(release(record.call, 1, WORKER)) == Lapse(QUEUE, runs_again=True)

    def failed() -> bool:
        sweep_all(ledger, [QUEUE])
        return record.state is State.FAILED

    eventually(failed, "it fails")
    assert record.ending().reason == "QUEUE_WAIT"


@pytest.mark.parametrize("operation", ["claim", "begin"])
def test_a_late_start_by_a_live_worker_is_not_no_workers(
    ledger: BlockingLedger, operation: str
) -> None:
    record = accepted(ledger, queue_wait_s=0.05)
    eventually(lambda: record.is_past("queue_wait_until"), "the wait is over")
    take: Operation[object] = (
        claim(record.call, 1, WORKER)
        if operation == "claim"
        else begin(record.call, 1, WORKER, "control")
    )
    assert isinstance(ledger.run(take), Refused)
    sweep_all(ledger, {QUEUE})
    assert (record.state, record.ending().reason) == (State.FAILED, "QUEUE_WAIT")


def test_watching_after_the_queue_wait_does_not_report_no_workers(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, queue_wait_s=0.05)
    eventually(lambda: record.is_past("queue_wait_until"), "the wait is over")
    record.snapshot()
    sweep_all(ledger, {QUEUE})
    assert (record.state, record.ending().reason) == (State.FAILED, "QUEUE_WAIT")


def test_a_call_that_runs_no_longer_waits_for_a_worker(ledger: BlockingLedger) -> None:
    record = running(ledger, queue_wait_s=0.3)
    other = accepted(ledger, queue_wait_s=0.3)

    def other_failed() -> bool:
        sweep_all(ledger)
        return other.state is State.FAILED

    eventually(other_failed, "the other fails")
    assert record.state is State.RUNNING


def test_a_sweep_does_not_change_calls_that_are_not_due(ledger: BlockingLedger) -> None:
    records = [accepted(ledger, timeout_s=600.0), running(ledger, timeout_s=600.0)]
    before = [record.fields for record in records]
    assert all(swept.reviewed == swept.dropped == 0 for swept in sweep_all(ledger))
    assert [record.fields for record in records] == before


def test_a_sweep_reviews_no_more_calls_than_its_limit(ledger: BlockingLedger) -> None:
    partition = PARTITIONS - 1
    calls: list[CallKey] = []
    while len(calls) < 5:
        call = new_key()
        if call.partition == f"forebay:{{{partition}}}":
            calls.append(call)
            ledger.run(accept(call, new_call(timeout_s=0.001), NOBODY, Push()))
    eventually(Record(ledger, calls[-1]).is_past_its_deadline, "all are due")
    assert [ledger.run(sweep(partition, (), 2)).reviewed for _ in range(4)] == [2, 2, 1, 0]
    assert {Record(ledger, call).state for call in calls} == {State.EXPIRED}


def test_a_finished_call_is_dropped_when_its_retention_is_over(ledger: BlockingLedger) -> None:
    kept = finished(ledger, b"item")
    record = finished(ledger, b"item", retention_s=0.05)
    assert record.ending().state is State.SUCCEEDED
    eventually(lambda: sum(swept.dropped for swept in sweep_all(ledger)) == 1, "it is dropped")
    assert ledger.run(watch(record.call, NOBODY)) == Refused(Refusal.UNKNOWN)
    assert kept.items == [b"item"]


def test_an_id_can_be_reused_after_the_retention(ledger: BlockingLedger) -> None:
    record = finished(ledger, b"item", retention_s=0.05)

    def accepted_anew() -> bool:
        sweep_all(ledger)
        other = new_call(method="pkg.Other.Method")
        return not isinstance(ledger.run(accept(record.call, other, NOBODY, Push())), ExistingCall)

    eventually(accepted_anew, "the id is free")
    assert (record.state, record.items) == (State.QUEUED, [])


def test_the_bytes_of_finished_calls_are_counted_until_they_are_dropped(
    ledger: BlockingLedger,
) -> None:
    finished(ledger, b"x" * 100)
    finished(ledger, b"x" * 20, b"x" * 3, retention_s=0.5)
    running_one = running(ledger)
    ledger.run(emit(running_one.call, 1, 0, b"x" * 1000))
    assert held(ledger) == 2 * RECORD_BYTES + 123
    eventually(lambda: held(ledger) == RECORD_BYTES + 100, "one is dropped")


def test_the_oldest_finished_call_is_evicted_first(ledger: BlockingLedger) -> None:
    partition = new_key().partition

    def one_more(size: int) -> Record:
        while True:
            call = new_key()
            if call.partition == partition:
                break
        ledger.run(accept(call, new_call(), NOBODY, Push()))
        ledger.run(begin(call, 1, WORKER, "control"))
        if size:
            ledger.run(emit(call, 1, 0, b"x" * size))
        ledger.run(finish(call, 1, Event.SUCCEED, "", b""))
        return Record(ledger, call)

    empty, oldest, newer = one_more(0), one_more(10), one_more(20)
    for record, age_ms in ((empty, 3000), (oldest, 2000), (newer, 1000)):
        ledger.redis.zincrby(f"{partition}:done", -age_ms, str(record.call))
    number = int(partition.strip("forebay:{}"))
    assert ledger.run(evict(number)) == RECORD_BYTES
    assert ledger.run(evict(number)) == RECORD_BYTES + 10
    assert ledger.run(watch(oldest.call, NOBODY)) == Refused(Refusal.UNKNOWN)
    assert isinstance(ledger.run(watch(newer.call, "reader")), CallSnapshot)
    assert ledger.run(evict(number)) == 0, "a call that is being read is not evicted"
    ledger.run(leave(newer.call, "reader"))
    assert ledger.run(evict(number)) == RECORD_BYTES + 20
    assert ledger.run(watch(empty.call, NOBODY)) == Refused(Refusal.UNKNOWN)
    assert held(ledger) == 0


def a_life_of_every_kind(ledger: BlockingLedger) -> None:
    """Calls that used all features, each ended in another way."""
    transient = {"retention_s": 0.05, "timeout_s": 30.0}
    for event in (Event.SUCCEED, Event.FAIL, Event.CANCEL):
        record = accepted(ledger, receiving=True, **transient)
        ledger.run(receive(record.call, 0, b"request", 100))
        ledger.run(complete(record.call, Push()))
        ledger.run(claim(record.call, 1, WORKER))
        assert isinstance(ledger.run(begin(record.call, 1, WORKER, "control")), Begun)
        ledger.run(send_initial_metadata(record.call, 1, b"metadata"))
        ledger.run(emit_transient(record.call, 1, b"50 %"))
        ledger.run(emit(record.call, 1, 0, b"item"))
        ledger.run(finish(record.call, 1, event, "", b"outcome"))
        record.snapshot("reader")
    ledger.run(cancel(accepted(ledger, **transient).call))
    ledger.run(cancel(accepted(ledger, receiving=True, **transient).call))
    accepted(ledger, retention_s=0.05, timeout_s=0.05)
    accepted(ledger, retention_s=0.05, queue_wait_s=0.05)
    left = running(ledger, retention_s=0.05, linger_s=0.05)
    ledger.run(leave(left.call, NOBODY))


def test_nothing_is_left_in_the_server_after_retention(ledger: BlockingLedger) -> None:
    a_life_of_every_kind(ledger)

    def all_dropped() -> bool:
        sweep_all(ledger)
        return not list(ledger.redis.scan_iter("*/call-*")) and all(
            swept.oldest_ms is None for swept in sweep_all(ledger)
        )

    eventually(all_dropped, "all calls are dropped")
    lasting = [key for key in ledger.redis.scan_iter("*") if ledger.redis.ttl(key) == -1]
    clocks = [key for key in lasting if key.endswith(b":clock")]
    left = {key: ledger.redis.get(key) for key in lasting if key not in clocks}
    assert {key: value for key, value in left.items() if value != b"0"} == {}
    assert len(clocks) <= PARTITIONS
    assert len(left) <= PARTITIONS, "a counter and a clock a partition, whatever has been"


def test_keys_that_no_sweep_drops_expire(ledger: BlockingLedger) -> None:
    record = finished(ledger, b"item", retention_s=0.05)
    record.snapshot("reader")
    for key in cast(list[bytes], ledger.redis.keys(f"*{record.call}")):
        assert 0 < cast(int, ledger.redis.pttl(key)) <= 86_461_000, key


def test_all_keys_of_a_call_share_its_partitions_hash_tag(ledger: BlockingLedger) -> None:
    record = accepted(ledger, receiving=True, timeout_s=600.0)
    ledger.run(receive(record.call, 0, b"request", 100))
    keys = set(cast(list[bytes], ledger.redis.keys("*")))
    ledger.run(complete(record.call, Push()))
    keys |= set(cast(list[bytes], ledger.redis.keys("*")))
    ledger.run(begin(record.call, 1, WORKER, "control"))
    ledger.run(emit(record.call, 1, 0, b"item"))
    keys |= set(cast(list[bytes], ledger.redis.keys("*")))
    ledger.run(finish(record.call, 1, Event.SUCCEED, "", b""))
    keys |= set(cast(list[bytes], ledger.redis.keys("*")))
    assert {key.removeprefix(record.call.partition.encode()).split(b":")[1] for key in keys} == {
        *[b"call", b"inputs", b"items"],
        *[b"calls", b"due", b"done", b"size", b"bytes", b"waiting", b"newest_claimed_sent"],
    }
    tags = {re.findall(rb"\{(.*?)\}", key)[0] for key in keys}
    assert tags == {re.findall(rb"\{(.*?)\}", record.call.partition.encode())[0]}


async def test_sweeping_works_over_asyncio_too(aio_ledger: Ledger, ledger: BlockingLedger) -> None:
    record = finished(ledger, b"item")
    swept = await aio_ledger.run_all([sweep(number, ()) for number in range(PARTITIONS)])
    assert sum(partition.held_bytes for partition in swept) == RECORD_BYTES + 4
    number = next(n for n, partition in enumerate(swept) if partition.held_bytes)
    oldest_ms = swept[number].oldest_ms
    assert oldest_ms is not None
    assert oldest_ms > await aio_ledger.now_ms()
    assert await aio_ledger.run(evict(number)) == RECORD_BYTES + 4
    assert await aio_ledger.run(watch(record.call, NOBODY)) == Refused(Refusal.UNKNOWN)
