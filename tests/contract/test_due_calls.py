"""A gateway starts calls that are due soon after another gateway has died, or after an outage.

Each test has several tries, because the machine may be busy.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from forebay.errors import BackendUnavailable
from forebay_backends.broker.redis import RedisBroker
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import STARTING
from forebay_backends.ledger.lifecycle import State
from forebay_backends.ledger.operations.calls import Start
from forebay_gateway.durable.delayed_calls import DelayedCalls
from tests.contract.records import Record, accepted
from tests.harness import eventually

MOST_LATE_MS = 1000
SOON_MS = 600
LAST_MS = 400
TRIES = 5


@contextlib.asynccontextmanager
async def gateway(ledger: Ledger) -> AsyncIterator[None]:
    """Starts calls that are due, as a gateway does, until the block is left."""
    delayed = DelayedCalls(ledger, RedisBroker(ledger, is_ledger=True), None, 100)
    running = asyncio.create_task(delayed.run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])


async def late_ms(ledger: BlockingLedger, aio_ledger: Ledger) -> int:
    """How late a call starts that only a gateway without time to start it has read.

    The other gateway looks for the first time shortly before the end of the dead one's election.
    """
    accepted(ledger, start=Start(3600.0, is_relative=True))  # without any, there is no election
    ledger.redis.delete(STARTING)
    async with gateway(aio_ledger):
        await soon(lambda: bool(ledger.redis.exists(STARTING)), "it is elected")
    record = accepted(ledger, start=Start(0.2, is_relative=True))
    await soon(lambda: left_ms(ledger) < LAST_MS, "the election ends soon")
    async with gateway(aio_ledger):
        await soon(lambda: record.state is State.QUEUED, "the call starts")
    return milliseconds(record, "queued_at") - milliseconds(record, "start_at")


def milliseconds(record: Record, field: str) -> int:
    return int(record.fields[field])


async def soon(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(eventually, condition, what)


def left_ms(ledger: BlockingLedger) -> int:
    """For how long a gateway is elected still."""
    return cast(int, ledger.redis.pttl(STARTING))


async def test_a_call_of_an_elected_gateway_that_died_is_less_than_a_second_late(
    ledger: BlockingLedger, aio_ledger: Ledger
) -> None:
    for _ in range(TRIES):
        late = await late_ms(ledger, aio_ledger)
        if late < MOST_LATE_MS:
            break
    assert 0 <= late < MOST_LATE_MS


class Interrupted(Ledger):
    """A ledger that can be away."""

    is_away = False
    refused = 0

    async def pipeline(self, *args: Any, **options: Any) -> list[Any]:
        if self.is_away:
            self.refused += 1
            raise BackendUnavailable("away", retry_after_s=1.0)
        return await super().pipeline(*args, **options)


async def test_a_call_starts_soon_after_an_outage_of_the_ledger(
    ledger: BlockingLedger, ledger_url: str
) -> None:
    interrupted = Interrupted(ledger_url)
    async with gateway(interrupted):
        for _ in range(TRIES):
            late = await late_after_outage_ms(ledger, interrupted)
            if late < SOON_MS:
                break
    await interrupted.close()
    assert late < SOON_MS


async def late_after_outage_ms(ledger: BlockingLedger, interrupted: Interrupted) -> int:
    """How long after an outage a call starts that was due in it; it ends when a look has failed."""
    interrupted.is_away, interrupted.refused = True, 0
    record = accepted(ledger, start=Start(0.0, is_relative=True))
    await soon(lambda: interrupted.refused > 0, "it has looked")
    interrupted.is_away = False
    seconds, microseconds = cast(tuple[int, int], ledger.redis.time())
    await soon(lambda: record.state is State.QUEUED, "the call starts")
    return milliseconds(record, "queued_at") - (seconds * 1000 + microseconds // 1000)
