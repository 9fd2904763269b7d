"""The ledger's clock when the server's clock is stepped; the tests change the stored offset."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import cast

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.expected_clock import ExpectedClock
from forebay_backends.ledger.keys import PARTITIONS, REAPING, partition_prefix
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.attempts import Flow, emit, renew
from forebay_backends.ledger.operations.maintenance import Swept, read_clock, sweep
from forebay_backends.ledger.presence import announce, live_workers
from forebay_backends.reaper import Reaper
from tests.contract.records import WORKER, Record, running
from tests.contract.test_presence import ONE, OTHER

HOUR_MS = 3_600_000
HOLD_MS = 2_000
SLACK_MS = 5_000  # the time between two commands on a busy machine


@dataclass
class Partition:
    """A partition's clock."""

    ledger: BlockingLedger
    url: str
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
        if expected_ms is None:
            return self.ledger.run(sweep(self.number, ()))
        with knowing(self.url, expected_ms) as ledger:
            return ledger.run(sweep(self.number, ()))


@contextmanager
def knowing(url: str, expected_ms: int) -> Iterator[BlockingLedger]:
    """The ledger of a process that expects this time on the ledger's clock."""
    clock = ExpectedClock()
    clock.on_read(expected_ms)
    with closing(BlockingLedger(url, clock=clock)) as ledger:
        yield ledger


@pytest.fixture
def record(ledger: BlockingLedger) -> Record:
    return running(ledger, timeout_s=600.0)


@pytest.fixture
def partition(ledger: BlockingLedger, ledger_url: str, record: Record) -> Partition:
    number = int(record.call.partition.partition("{")[2].partition("}")[0])
    return Partition(ledger, ledger_url, number)


@pytest.mark.parametrize("step_ms", [HOUR_MS, -HOUR_MS, 40 * HOUR_MS])
def test_a_step_of_the_servers_clock_is_undone_by_the_next_sweep(
    record: Record, partition: Partition, step_ms: int
) -> None:
    before_ms = partition.sweep().clock_ms
    partition.step(step_ms)
    assert before_ms <= partition.now_ms() <= before_ms + HOLD_MS
    assert not partition.ledger.run(read_clock(partition.number)).is_certain
    after = partition.sweep(expected_ms=before_ms + 1000)
    assert before_ms + 1000 <= after.clock_ms <= before_ms + 1000 + SLACK_MS
    assert before_ms + 1000 <= partition.now_ms() <= before_ms + 1000 + SLACK_MS
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
    partition.step(HOUR_MS)
    after = partition.sweep(expected_ms=before_ms + HOUR_MS)
    assert after.clock_ms == pytest.approx(before_ms + HOUR_MS, abs=SLACK_MS)


def test_a_process_that_knows_the_time_writes_the_right_times_before_the_first_sweep(
    ledger_url: str, partition: Partition
) -> None:
    before_ms = partition.sweep().clock_ms
    for number in range(PARTITIONS):
        Partition(partition.ledger, ledger_url, number).sweep()
        Partition(partition.ledger, ledger_url, number).step(HOUR_MS)  # an outage of an hour
    with knowing(ledger_url, before_ms + HOUR_MS) as ledger:
        call = running(ledger, timeout_s=600.0)
        assert ledger.known_ms() == pytest.approx(before_ms + HOUR_MS, abs=SLACK_MS)
        for number in range(PARTITIONS):
            ledger.run(sweep(number, ()))
        assert call.state is State.RUNNING


async def test_without_a_process_that_knows_the_time_a_later_one_is_accepted(
    ledger_url: str, partition: Partition
) -> None:
    partitions = [Partition(partition.ledger, ledger_url, n) for n in range(PARTITIONS)]
    before = Ledger(ledger_url)
    await announce(before, OTHER)
    await before.close()
    for each in partitions:
        before_ms = each.sweep().clock_ms
        each.step(8 * HOUR_MS)  # an outage of eight hours
    other, fresh = Ledger(ledger_url), Ledger(ledger_url, clock=ExpectedClock())
    reaper = Reaper(fresh, RedisBroker(fresh, is_ledger=True), retention_bytes=1 << 30)
    announced = asyncio.create_task(announce(fresh, ONE))
    for _ in range(3):
        await reaper.repair(())
        assert not (await other.read_clock()).is_certain, "left to processes that know it"
        assert await live_workers(other) == ()
    assert not announced.done()
    await reaper.repair(())
    assert await announced * 1000 == pytest.approx(before_ms + 8 * HOUR_MS, abs=SLACK_MS)
    assert await live_workers(other) == (ONE,)
    for each in partitions:
        assert each.sweep().clock_ms == pytest.approx(before_ms + 8 * HOUR_MS, abs=SLACK_MS)
    assert await live_workers(other) == (ONE,)
    await fresh.close()
    await other.close()


async def test_an_operation_fails_if_nobody_settles_the_clock(
    ledger_url: str, partition: Partition, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Partition(partition.ledger, ledger_url, 0)
    first.sweep()
    first.step(HOUR_MS)
    for client in ("client", "blocking_client"):
        monkeypatch.setattr(f"forebay_backends.ledger.{client}.COMMAND_TIMEOUT_S", 0.2)
    fresh = Ledger(ledger_url, clock=ExpectedClock())
    with pytest.raises(BackendUnavailable, match="clock is in doubt"):
        await announce(fresh, ONE)
    await fresh.close()
    with (
        closing(BlockingLedger(ledger_url, clock=ExpectedClock())) as blocking,
        pytest.raises(BackendUnavailable, match="clock is in doubt"),
    ):
        running(blocking)


def test_the_servers_clock_counts_where_a_process_expects_nearly_the_same(
    partition: Partition,
) -> None:
    before_ms = partition.sweep().clock_ms
    partition.step(HOUR_MS)  # an outage of an hour, and the process is 8 s behind
    after = partition.sweep(expected_ms=before_ms + HOUR_MS - 8_000)
    assert after.clock_ms >= before_ms + HOUR_MS


def test_an_earlier_time_is_never_accepted(partition: Partition) -> None:
    before_ms = partition.sweep().clock_ms
    partition.step(-HOUR_MS)
    assert partition.sweep().clock_ms == before_ms


def test_a_process_that_was_paused_does_not_set_the_clock_back(partition: Partition) -> None:
    before_ms = partition.sweep().clock_ms
    after_ms = partition.sweep(expected_ms=before_ms - HOUR_MS).clock_ms
    assert after_ms >= before_ms


def test_the_offset_shrinks_slowly(partition: Partition) -> None:
    now_ms = partition.sweep().clock_ms
    partition.step(HOUR_MS)
    partition.sweep(expected_ms=now_ms + 100_000)
    offset = int(cast(bytes, partition.ledger.redis.hget(partition.key, "offset")))
    now_ms = partition.now_ms()
    partition.ledger.redis.hincrby(partition.key, "last", -8_000)  # 8 s later
    partition.sweep(expected_ms=now_ms)
    slewed = int(cast(bytes, partition.ledger.redis.hget(partition.key, "offset")))
    assert abs(slewed) == pytest.approx(abs(offset) - 40, abs=SLACK_MS // 200 + 10)


async def test_an_election_that_a_step_back_would_prolong_is_repeated(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    assert await aio_ledger.elected(REAPING, 0.7)
    ledger.redis.pexpire(REAPING, HOUR_MS)  # as after a step back of an hour
    assert not await aio_ledger.elected(REAPING, 0.7)
    assert await aio_ledger.elected(REAPING, 0.7)
