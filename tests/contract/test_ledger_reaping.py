"""Expired claims, and their calls."""

from __future__ import annotations

import uuid
from typing import Any, cast

import pytest

from forebay_backends.broker.redis import RedisBroker
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Stop, parse_control
from forebay_backends.ledger.keys import PARTITIONS, REAPING, CallKey, control_channel
from forebay_backends.ledger.lifecycle import Event, State
from forebay_backends.ledger.operations.attempts import (
    Begun,
    begin,
    claim,
    emit,
    emit_transient,
    finish,
    read_flow,
    release,
    renew,
    report_metadata,
    send_initial_metadata,
    trim,
)
from forebay_backends.ledger.operations.base import Lapse, Refusal, Refused
from forebay_backends.ledger.operations.calls import cancel, watch
from forebay_backends.ledger.operations.inspection import Description, EarlierAttempt, describe
from forebay_backends.ledger.operations.maintenance import QueueBacklog, sweep, unclaimed
from forebay_backends.ledger.scripts import LEASE_S
from forebay_backends.reaper import Reaper
from tests.contract.channel import Channel
from tests.contract.records import (
    NOBODY,
    OTHER_WORKER,
    QUEUE,
    WORKER,
    Record,
    accepted,
    running,
    sweep_all,
    with_lease,
)
from tests.harness import eventually

SOON_S = 20.0


def lapsed(ledger: BlockingLedger, record: Record, attempt: int = 1) -> list[Lapse]:
    """Lets the worker's claim on the call expire, and sweeps; returns the attempts lost by it."""
    lapses: list[Lapse] = []
    operation = renew(record.call.partition, WORKER, [(record.call, attempt)])
    assert ledger.run(with_lease(operation, 0.001)) == [None]

    def gone() -> bool:
        lapses.extend(lapse for swept in sweep_all(ledger) for lapse in swept.lapses)
        return "worker" not in record.fields

    eventually(gone, "the claim lapses", SOON_S)
    return lapses


def waiting(ledger: BlockingLedger) -> QueueBacklog:
    """The queue's unclaimed calls, from all partitions."""
    found = [ledger.run(unclaimed(n, [QUEUE]))[QUEUE] for n in range(PARTITIONS)]
    return sum(found, QueueBacklog(0, ()))


def unsent(ledger: BlockingLedger) -> list[tuple[CallKey, int]]:
    """The attempts whose message has not been sent yet, by call."""
    return [(call.call, call.attempt) for call in waiting(ledger).old if not call.sent_ms]


def test_an_operation_that_reported_metadata_runs_again_and_keeps_it_meanwhile(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, deterministic=False)
    assert ledger.run(report_metadata(record.call, 1, b"half")) is None
    lapsed(ledger, record)
    assert (record.state, record.fields["attempt"]) == (State.QUEUED, b"2")
    assert record.fields["operation_metadata"] == b"half"
    assert isinstance(ledger.run(begin(record.call, 2, OTHER_WORKER, "control")), Begun)
    assert ledger.run(report_metadata(record.call, 1, b"late")) == Refused(Refusal.STALE)
    assert ledger.run(report_metadata(record.call, 2, b"anew")) is None
    assert record.fields["operation_metadata"] == b"anew"


def test_a_call_that_was_claimed_and_not_begun_moves_under_the_same_attempt(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger, may_run_again=False, attempts_limit=1)
    assert waiting(ledger).count == 1
    ledger.run(claim(record.call, 1, WORKER))
    assert waiting(ledger).count == 0
    lapsed(ledger, record)
    assert record.state is State.QUEUED
    assert unsent(ledger) == [(record.call, 1)]
    assert ledger.run(claim(record.call, 1, OTHER_WORKER)) is None


def test_a_call_that_had_begun_and_may_run_again_moves_as_the_next_attempt(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, may_run_again=True, deterministic=False)
    lapsed(ledger, record)
    assert record.state is State.QUEUED
    assert unsent(ledger) == [(record.call, 2)]
    assert ledger.run(claim(record.call, 1, OTHER_WORKER)) == Refused(Refusal.STALE)
    assert ledger.run(claim(record.call, 2, OTHER_WORKER)) is None
    assert isinstance(ledger.run(begin(record.call, 2, OTHER_WORKER, "control")), Begun)


def earlier_attempts(ledger: BlockingLedger, record: Record) -> tuple[EarlierAttempt, ...]:
    description = ledger.run(describe(record.call, 1000))
    assert isinstance(description, Description)
    return description.earlier


def test_attempts_that_lost_their_worker_are_described_also_after_the_end(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, may_run_again=True)
    begun_ms = int(record.fields["begun_at"])
    assert earlier_attempts(ledger, record) == ()
    lapsed(ledger, record)
    [earlier] = earlier_attempts(ledger, record)
    assert (earlier.attempt, earlier.worker, earlier.begun_ms) == (1, WORKER, begun_ms)
    assert earlier.lapsed_ms >= begun_ms
    odd = "two words\u2028\x0b|\r"
    ledger.run(begin(record.call, 2, odd, "control"))
    assert ledger.run(release(record.call, 2, odd))
    ledger.run(begin(record.call, 3, OTHER_WORKER, "control"))
    ledger.run(finish(record.call, 3, Event.SUCCEED, "", b""))
    assert [(one.attempt, one.worker) for one in earlier_attempts(ledger, record)] == [
        *((1, WORKER), (2, odd))
    ]


def test_the_record_has_the_latest_20_earlier_attempts(ledger: BlockingLedger) -> None:
    record = running(ledger, may_run_again=True, attempts_limit=30)
    for attempt in range(1, 26):
        assert ledger.run(release(record.call, attempt, WORKER))
        ledger.run(begin(record.call, attempt + 1, WORKER, "control"))
    found = [one.attempt for one in earlier_attempts(ledger, record)]
    assert found == list(range(6, 26))


@pytest.mark.parametrize(
    "changes",
    [
        {"may_run_again": False},
        {"may_run_again": True, "attempts_limit": 1},
    ],
)
def test_a_call_that_had_begun_and_may_not_run_again_fails(
    ledger: BlockingLedger, changes: dict[str, Any]
) -> None:
    record = running(ledger, **changes)
    lapsed(ledger, record)
    ending = record.snapshot().ending
    assert ending is not None
    assert (ending.state, ending.reason, ending.attempts) == (State.FAILED, "WORKER_LOST", 1)
    assert waiting(ledger).count == 0


@pytest.mark.parametrize(("deterministic", "state"), [(True, "QUEUED"), (False, "FAILED")])
def test_once_items_are_out_only_a_deterministic_call_runs_again(
    ledger: BlockingLedger, deterministic: bool, state: str
) -> None:
    record = running(ledger, may_run_again=True, deterministic=deterministic)
    ledger.run(emit(record.call, 1, 0, b"item"))
    lapsed(ledger, record)
    assert record.state == state


def test_a_rerun_stores_each_item_once(ledger: BlockingLedger) -> None:
    record = running(ledger, may_run_again=True, deterministic=True)
    for ordinal in range(2):
        ledger.run(emit(record.call, 1, ordinal, b"item %d" % ordinal))
    lapsed(ledger, record)
    ledger.run(begin(record.call, 2, OTHER_WORKER, "control"))
    for ordinal in range(3):
        ledger.run(emit(record.call, 2, ordinal, b"item %d" % ordinal))
    assert record.items == [b"item 0", b"item 1", b"item 2"]


def test_a_stale_attempt_is_refused_everywhere(ledger: BlockingLedger) -> None:
    record = running(ledger)
    lapsed(ledger, record)
    ledger.run(begin(record.call, 2, OTHER_WORKER, "control"))
    call = record.call
    for operation in (
        claim(call, 1, WORKER),
        begin(call, 1, WORKER, "control"),
        emit(call, 1, 0, b"item"),
        emit_transient(call, 1, b"transient"),
        send_initial_metadata(call, 1, b""),
        read_flow(call, 1),
        trim(call, 1, 1, 1),
        finish(call, 1, Event.SUCCEED, "", b""),
        release(call, 1, WORKER),
    ):
        assert ledger.run(operation) in (Refused(Refusal.STALE), Refused(State.RUNNING))  # type: ignore[arg-type]
    assert ledger.run(renew(call.partition, WORKER, [(call, 1)])) == [Refused(Refusal.STALE)]
    assert record.state is State.RUNNING
    assert record.items == []


def test_a_claim_that_is_renewed_does_not_lapse(ledger: BlockingLedger) -> None:
    record = running(ledger)
    lease = renew(record.call.partition, WORKER, [(record.call, 1)])
    ledger.run(with_lease(lease, 0.001))
    ledger.run(lease)
    sweep_all(ledger)
    assert record.fields["worker"].decode() == WORKER
    assert record.state is State.RUNNING


def test_renewing_claims_a_call_if_the_ledger_was_down_when_its_message_came(
    ledger: BlockingLedger,
) -> None:
    record = accepted(ledger)
    assert ledger.run(renew(record.call.partition, WORKER, [(record.call, 1)])) == [None]
    assert ledger.run(claim(record.call, 1, OTHER_WORKER)) == Refused(Refusal.TAKEN)
    assert waiting(ledger).count == 0


def test_renewing_reports_lost_leases(ledger: BlockingLedger) -> None:
    record = running(ledger)
    stranger = CallKey(record.call.id, "stranger")
    ledger.run(cancel(record.call))
    assert ledger.run(renew(record.call.partition, WORKER, [(record.call, 1)])) == [
        Refused(State.CANCELLED)
    ]
    taken = accepted(ledger)
    ledger.run(claim(taken.call, 1, OTHER_WORKER))
    assert ledger.run(renew(taken.call.partition, WORKER, [(taken.call, 1)])) == [
        Refused(Refusal.TAKEN)
    ]
    assert ledger.run(renew(stranger.partition, WORKER, [(stranger, 1)])) == [
        Refused(Refusal.UNKNOWN)
    ]


def test_a_worker_releases_its_claimed_call(ledger: BlockingLedger) -> None:
    record = accepted(ledger)
    ledger.run(claim(record.call, 1, WORKER))
    assert ledger.run(release(record.call, 1, OTHER_WORKER)) == Refused(Refusal.TAKEN)
    assert ledger.run(release(record.call, 1, WORKER)) is None
    assert unsent(ledger) == [(record.call, 1)]


def test_a_worker_releases_the_calls_of_a_dead_child(ledger: BlockingLedger) -> None:
    movable, fixed = running(ledger), running(ledger, may_run_again=False)
    assert ledger.run(release(movable.call, 1, WORKER)) == Lapse(QUEUE, runs_again=True)
    assert ledger.run(release(fixed.call, 1, WORKER)) == Lapse(QUEUE, runs_again=False)
    assert unsent(ledger) == [(movable.call, 2)]
    assert fixed.snapshot().ending is not None


def test_an_attempts_run_time_does_not_shorten_the_next_ones(ledger: BlockingLedger) -> None:
    record = running(ledger, timeout_s=600.0, run_limit_s=60.0)
    ledger.run(release(record.call, 1, WORKER))
    begun = ledger.run(begin(record.call, 2, WORKER, "control"))
    assert isinstance(begun, Begun)
    assert begun.timeout_s == pytest.approx(60.0, abs=SOON_S)
    ledger.run(release(record.call, 2, WORKER))
    left_ms = int(record.fields["deadline"]) - int(record.fields["created_at"])
    assert left_ms == pytest.approx(600_000, abs=10)


def test_the_workers_main_process_receives_a_stop(ledger: BlockingLedger) -> None:
    with Channel(ledger, "control", name=control_channel(WORKER)) as main:
        record = running(ledger)
        ledger.run(cancel(record.call))
        moved = running(ledger)
        ledger.run(release(moved.call, 1, WORKER))
        assert [parse_control(frame) for frame in main.received()] == [
            (str(record.call), 1, Stop(State.CANCELLED)),
            (str(moved.call), 1, Stop(State.QUEUED)),
        ]


def test_the_sweep_reports_the_attempts_that_were_lost(ledger: BlockingLedger) -> None:
    for may_run_again in (True, False):
        lost = lapsed(ledger, running(ledger, may_run_again=may_run_again))
        assert lost == [Lapse(QUEUE, runs_again=may_run_again)]
    claimed = accepted(ledger)
    ledger.run(claim(claimed.call, 1, WORKER))
    assert lapsed(ledger, claimed) == [], "it had not begun"


async def test_the_reaper_resends_a_released_call_once(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    record = running(ledger)
    ledger.run(release(record.call, 1, WORKER))
    broker = RedisBroker(aio_ledger, is_ledger=True)
    reaper = Reaper(aio_ledger, broker, retention_bytes=1 << 30)
    await reaper.repair([QUEUE])
    assert await broker.depth(QUEUE) == 1
    assert waiting(ledger).count == 1
    assert waiting(ledger).old == ()
    ledger.redis.delete(REAPING)
    await reaper.repair([QUEUE])
    assert await broker.depth(QUEUE) == 1


async def test_the_reaper_resends_calls_whose_message_the_queue_lost(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    broker = RedisBroker(aio_ledger, is_ledger=True)
    reaper = Reaper(aio_ledger, broker, retention_bytes=1 << 30)
    records = [accepted(ledger) for _ in range(3)]  # without messages
    await reaper.repair([QUEUE])
    assert await broker.depth(QUEUE) == 0, "they may be on their way"
    for record in records:
        sent_a_lease_ago(ledger, record)
    ledger.redis.delete(REAPING)
    await reaper.repair([QUEUE])
    assert await broker.depth(QUEUE) == 3


def test_a_call_is_unclaimed_when_its_message_was_sent_15_s_ago(ledger: BlockingLedger) -> None:
    early, late = accepted(ledger), accepted(ledger)
    sent_earlier(ledger, early, 15.0)
    sent_earlier(ledger, late, 10.0)
    assert [call.call for call in waiting(ledger).old] == [early.call]
    assert waiting(ledger).count == 2


async def test_the_reaper_resends_overtaken_calls(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    early = accepted(ledger)
    sent_a_lease_ago(ledger, early)
    late = accepted(ledger, call=same_partition(early.call))
    other = accepted(ledger, call=same_partition(early.call), priority=5)
    sent_a_lease_ago(ledger, other)
    ledger.run(claim(late.call, 1, WORKER))
    assert {call.call: call.overtaken for call in waiting(ledger).old} == {
        early.call: True,
        other.call: False,
    }


def test_a_claimed_call_of_another_priority_overtakes_none(ledger: BlockingLedger) -> None:
    early = accepted(ledger)
    sent_a_lease_ago(ledger, early)
    urgent = accepted(ledger, call=same_partition(early.call), priority=5)
    ledger.run(claim(urgent.call, 1, WORKER))
    assert [call.overtaken for call in waiting(ledger).old] == [False]


async def test_one_process_at_a_time_is_elected(aio_ledger: Ledger) -> None:
    assert await aio_ledger.elected(REAPING, 60.0)
    assert not await aio_ledger.elected(REAPING, 60.0)


def is_due(ledger: BlockingLedger, record: Record) -> bool:
    """Whether the call is due for review now."""
    due = cast("float", ledger.redis.zscore(f"{record.call.partition}:due", str(record.call)))
    return due <= now_ms(ledger)


def now_ms(ledger: BlockingLedger) -> int:
    """The ledger's clock, in whole ms as scripts read it."""
    seconds, microseconds = cast(tuple[int, int], ledger.redis.time())
    return seconds * 1000 + microseconds // 1000


def sent_a_lease_ago(ledger: BlockingLedger, record: Record) -> None:
    """Makes the ledger believe that the call's message was sent more than a lease ago."""
    sent_earlier(ledger, record, LEASE_S + 1)


def sent_earlier(ledger: BlockingLedger, record: Record, seconds: float) -> None:
    """Makes the ledger believe that the call's message was sent that much earlier."""
    waiting_set = f"{record.call.partition}:waiting:{QUEUE}"
    ledger.redis.zincrby(waiting_set, -1000 * seconds, str(record.call))


def same_partition(call: CallKey) -> CallKey:
    """Another call of the same partition."""
    others = (CallKey(f"call-{uuid.uuid4()}") for _ in range(10_000))
    return next(other for other in others if other.partition == call.partition)


def test_a_call_that_its_worker_gives_back_is_reviewed_at_another_time(
    ledger: BlockingLedger,
) -> None:
    record = running(ledger, may_run_again=True)
    due = f"{record.call.partition}:due"
    ledger.redis.zadd(due, {str(record.call): 1})
    assert ledger.run(release(record.call, 1, WORKER)) == Lapse(QUEUE, runs_again=True)
    assert not is_due(ledger, record)


@pytest.mark.parametrize(("share", "is_pause"), [(0.3, False), (0.4, True)])
def test_a_third_of_a_lease_without_a_sweep_is_a_pause(
    ledger: BlockingLedger, share: float, is_pause: bool
) -> None:
    last = round(now_ms(ledger) - share * LEASE_S * 1000)
    state = "forebay:{0}:sweep_state"
    ledger.redis.hset(state, mapping={"since": 1, "last": last})
    ledger.run(sweep(0, ()))
    since = int(cast(bytes, ledger.redis.hget(state, "since")))
    assert (since > last) == is_pause


def test_after_a_pause_holders_get_the_time_of_a_lease_to_come_back(
    ledger: BlockingLedger,
) -> None:
    claimed, watched = running(ledger), accepted(ledger, linger_s=0.0)
    lapse_now = renew(claimed.call.partition, WORKER, [(claimed.call, 1)])
    ledger.run(with_lease(lapse_now, 0.001))
    ledger.run(with_lease(watch(watched.call, NOBODY), 0.001))
    eventually(lambda: all(is_due(ledger, record) for record in (claimed, watched)), "they are due")
    for number in range(PARTITIONS):  # as after an outage: none of these was swept recently
        ledger.run(sweep(number, ()))
        ledger.run(sweep(number, ()))
    assert claimed.state is State.RUNNING
    assert watched.state is State.QUEUED
    for record in (claimed, watched):  # it is reviewed then; the test moves the time
        due = f"{record.call.partition}:due"
        assert ledger.redis.zscore(due, str(record.call)) == pytest.approx(
            now_ms(ledger) + LEASE_S * 1000, abs=5000
        )
        ledger.redis.zadd(due, {str(record.call): now_ms(ledger)})
    sweep_all(ledger)
    assert claimed.state is State.QUEUED
    assert watched.state is State.CANCELLED
