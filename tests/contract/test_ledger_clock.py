"""The ledger's clock when the server's clock is stepped; the tests change the stored offset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest

from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import REAPING, partition_prefix
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import Flow, emit, renew
from forebay_backends.ledger.operations.maintenance import Swept, read_clock, sweep
from tests.contract.records import WORKER, Record, running

HOUR_MS = 3_600_000
HOLD_MS = 2_000
SLACK_MS = 5_000  # the time between two commands on a busy machine


@dataclass
class Partition:
    """A partition's clock."""

    ledger: BlockingLedger
    number: int

    @property
    def key(self) -> str:
        return f"{partition_prefix(self.number)}:clock"

    def now_ms(self) -> int:
        return self.ledger.run(read_clock(self.number)).now_ms

    def step(self, by_ms: int) -> None:
        """Has the effect of a step of the server's clock: changes the offset between the clocks."""
        self.ledger.redis.hincrby(self.key, "offset", by_ms)

    def sweep(self, expected_ms: int | None = None) -> Swept:
        return self.ledger.run(sweep(self.number, (), expected_ms=expected_ms))


@pytest.fixture
def record(ledger: BlockingLedger) -> Record:
    return running(ledger, timeout_s=600.0)


@pytest.fixture
def partition(ledger: BlockingLedger, record: Record) -> Partition:
    return Partition(ledger, int(record.call.partition.partition("{")[2].partition("}")[0]))


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 40 * HOUR_MS])
def test_a_step_of_the_servers_clock_is_undone_by_the_next_sweep(
    record: Record, partition: Partition, step_ms: int
) -> None:
    before_ms = partition.sweep().clock_ms
    assert before_ms is not None
    partition.step(step_ms)
    assert before_ms <= partition.now_ms() <= before_ms + HOLD_MS
    assert not partition.ledger.run(read_clock(partition.number)).is_certain
    after = partition.sweep(expected_ms=before_ms + 1000)
    assert after.clock_ms == before_ms + 1000
    assert before_ms + 1000 <= partition.now_ms() <= before_ms + 1000 + HOLD_MS
    assert partition.ledger.run(read_clock(partition.number)).is_certain
    assert record.state is State.RUNNING


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS])
def test_no_operation_ends_a_call_before_the_sweep_sees_the_step(
    ledger: BlockingLedger, record: Record, partition: Partition, step_ms: int
) -> None:
    partition.sweep()
    partition.step(step_ms)
    assert isinstance(ledger.run(emit(record.call, 1, 0, b"item")), Flow)
    assert ledger.run(renew(record.call.partition, WORKER, [(record.call, 1)])) == [None]
    assert record.snapshot().state is State.RUNNING


def test_the_clock_continues_after_an_outage_that_the_process_has_measured(
    partition: Partition,
) -> None:
    before_ms = partition.sweep().clock_ms
    assert before_ms is not None
    partition.step(HOUR_MS)
    after = partition.sweep(expected_ms=before_ms + HOUR_MS)
    assert after.clock_ms == pytest.approx(before_ms + HOUR_MS, abs=SLACK_MS)


def test_an_unconfirmed_later_time_is_accepted_after_five_sweeps(
    record: Record, partition: Partition
) -> None:
    before_ms = partition.sweep().clock_ms
    assert before_ms is not None
    partition.step(HOUR_MS)
    assert [partition.sweep().clock_ms for _ in range(5)] == [None] * 5
    assert partition.now_ms() <= before_ms + HOLD_MS
    assert record.state is State.RUNNING
    accepted = partition.sweep().clock_ms
    assert accepted == pytest.approx(before_ms + HOUR_MS, abs=SLACK_MS)


def test_an_earlier_time_is_never_accepted(partition: Partition) -> None:
    before_ms = partition.sweep().clock_ms
    assert before_ms is not None
    partition.step(-HOUR_MS)
    assert partition.sweep().clock_ms == before_ms


def test_a_process_that_was_paused_does_not_set_the_clock_back(partition: Partition) -> None:
    before_ms = partition.sweep().clock_ms
    assert before_ms is not None
    after_ms = partition.sweep(expected_ms=before_ms - HOUR_MS).clock_ms
    assert after_ms is not None
    assert after_ms >= before_ms


def test_the_offset_shrinks_slowly(partition: Partition) -> None:
    now_ms = partition.sweep().clock_ms
    assert now_ms is not None
    partition.step(HOUR_MS)
    partition.sweep(expected_ms=now_ms + 100_000)
    offset = int(cast(bytes, partition.ledger.redis.hget(partition.key, "offset")))
    now_ms = partition.now_ms()
    partition.ledger.redis.hincrby(partition.key, "last", -20_000)  # 20 s later
    partition.sweep(expected_ms=now_ms)
    slewed = int(cast(bytes, partition.ledger.redis.hget(partition.key, "offset")))
    assert abs(slewed) == pytest.approx(abs(offset) - 100, abs=SLACK_MS // 200 + 10)


async def test_an_election_that_a_step_back_would_prolong_is_repeated(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    assert await aio_ledger.elected(REAPING, 0.7)
    ledger.redis.pexpire(REAPING, HOUR_MS)  # as after a step back of an hour
    assert not await aio_ledger.elected(REAPING, 0.7)
    assert await aio_ledger.elected(REAPING, 0.7)
