"""Presence: workers announce themselves, and gateways read the live ones."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import PRESENCE_INDEX, presence_key
from forebay_backends.ledger.presence import (
    WorkerPresence,
    announce,
    consumed_queues,
    live_workers,
    survey,
    withdraw,
)
from forebay_backends.ledger.scripts import LEASE_S

ONE = WorkerPresence(
    *("one@host.1", ("add", "factorial"), ("add.tasks.add",), 2, "prefork", "0.1.0"),
    running={"add.tasks.add": 1},
    held={"add": 2, "factorial": 1},
)
OTHER = replace(ONE, worker="other@host.2", queues=("add",), slots=3)


async def test_a_worker_is_live_once_it_is_announced(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    assert await live_workers(aio_ledger) == ()
    await announce(aio_ledger, ONE)
    await announce(aio_ledger, OTHER)
    assert set(await live_workers(aio_ledger)) == {ONE, OTHER}
    assert consumed_queues(await live_workers(aio_ledger)) == {"add": 5, "factorial": 2}


async def test_a_survey_returns_the_clock_and_the_live_workers(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    assert (await survey(aio_ledger))[1] == ()
    await announce(aio_ledger, ONE)
    before_ms, began_ms = await aio_ledger.now_ms(), time.monotonic() * 1000
    ahead_ms, workers = await survey(aio_ledger)
    assert workers == (ONE,)
    assert ahead_ms + time.monotonic() * 1000 >= before_ms
    assert ahead_ms + began_ms <= await aio_ledger.now_ms()


async def test_a_survey_fails_when_the_ledger_rejects_writes(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    ledger.redis.config_set("maxmemory", "1")
    try:
        with pytest.raises(BackendUnavailable, match="is full"):
            await survey(aio_ledger)
    finally:
        ledger.redis.config_set("maxmemory", "0")


async def test_a_second_announcement_replaces_the_first(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    await announce(aio_ledger, ONE)
    await announce(aio_ledger, replace(ONE, slots=8))
    assert await live_workers(aio_ledger) == (replace(ONE, slots=8),)


async def test_withdrawing_a_worker_removes_all_its_keys(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    await announce(aio_ledger, ONE)
    await announce(aio_ledger, OTHER)
    await withdraw(aio_ledger, ONE.worker)
    assert await live_workers(aio_ledger) == (OTHER,)
    await withdraw(aio_ledger, OTHER.worker)
    assert ledger.redis.keys("*") == []


async def test_an_announcement_expires_after_a_lease(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    before, _ = ledger.redis.time()  # type: ignore[misc]
    await announce(aio_ledger, ONE)
    left_s = ledger.redis.ttl(presence_key(ONE.worker))
    assert left_s == pytest.approx(24 * 3600, abs=60)  # by a clock that may be stepped by hours
    until = ledger.redis.zscore(PRESENCE_INDEX, ONE.worker)
    after, _ = ledger.redis.time()  # type: ignore[misc]
    assert before + LEASE_S <= until <= after + 1 + LEASE_S


async def test_a_worker_is_not_live_once_its_announcement_has_expired(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    await announce(aio_ledger, ONE)
    await announce(aio_ledger, OTHER)
    ledger.redis.zincrby(PRESENCE_INDEX, -LEASE_S, ONE.worker)  # a lease later
    assert await live_workers(aio_ledger) == (OTHER,)


async def test_workers_that_ended_long_ago_are_removed_from_the_index(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    await announce(aio_ledger, ONE)
    ledger.redis.zincrby(PRESENCE_INDEX, -3 * LEASE_S, ONE.worker)  # three leases later
    await announce(aio_ledger, OTHER)
    assert ledger.redis.zrange(PRESENCE_INDEX, 0, -1) == [OTHER.worker.encode()]
    assert not ledger.redis.exists(presence_key(ONE.worker))


async def test_an_unreadable_announcement_does_not_hide_other_workers(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    await announce(aio_ledger, ONE)
    for name, word in (
        ("garbled", b"{"),
        ("of another version", b'{"worker": 1}'),
        ("list", b"[]"),
    ):
        ledger.redis.zadd(PRESENCE_INDEX, {name: 2e9})
        ledger.redis.set(presence_key(name), word)
    assert await live_workers(aio_ledger) == (ONE,)
