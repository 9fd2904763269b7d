"""Detection of callers that have stopped reading."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from forebay.errors import CallerStalled
from forebay_backends.ledger.keys import CallKey
from forebay_gateway.durable.stall import StallLimit
from tests.unit.samples import FakeClock, snapshot

LIMIT_S = 60.0


class Caller:
    """Takes a message when it `reads`."""

    def __init__(self) -> None:
        self.reads = asyncio.Event()

    async def write(self, payload: bytes) -> None:
        await self.reads.wait()


async def blocked(limit: StallLimit, caller: Caller) -> None:
    async with limit.applied(CallKey("call")):
        await limit.write(caller, b"item")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("blocked_s", "handler_waits_s", "is_stalled"),
    [
        (LIMIT_S, LIMIT_S, True),
        (LIMIT_S - 1, LIMIT_S, False),
        (LIMIT_S, LIMIT_S - 1, False),
        (1000 * LIMIT_S, 0.0, False),
    ],
)
async def test_a_caller_stalls_where_write_and_handler_have_both_waited_for_the_limit(
    blocked_s: float, handler_waits_s: float, *, is_stalled: bool
) -> None:
    clock, caller = FakeClock(), Caller()
    limit = StallLimit(LIMIT_S, clock)
    rpc = asyncio.create_task(blocked(limit, caller))
    await asyncio.sleep(0)
    clock.now += blocked_s
    limit.on_snapshot(replace(snapshot(), credit_wait_s=handler_waits_s))
    if is_stalled:
        with pytest.raises(CallerStalled, match="forebay-call-id call"):
            await rpc
    else:
        caller.reads.set()
        await rpc


async def test_each_message_that_is_read_restarts_the_limit() -> None:
    clock, caller = FakeClock(), Caller()
    limit = StallLimit(LIMIT_S, clock)
    caller.reads.set()
    async with limit.applied(CallKey("call")):
        for _ in range(3):
            await limit.write(caller, b"item")  # type: ignore[arg-type]
            clock.now += LIMIT_S
            assert not limit.is_reached(LIMIT_S)
