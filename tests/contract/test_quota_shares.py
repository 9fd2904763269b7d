"""Gateways share the quotas of a tenant through the ledger."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from forebay.errors import BackendUnavailable, QuotaExceeded
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.frames import Recall, parse_frame
from forebay_backends.ledger.keys import KEYS
from forebay_backends.ledger.operations.base import Operation
from forebay_backends.ledger.operations.quotas import Shares, Tokens, Use, share
from forebay_backends.ledger.pubsub import listen
from forebay_backends.settings.tenant_settings import TenantSettings
from forebay_gateway.admission.admission import Admission, Wait
from forebay_gateway.quotas.tenant_quotas import TenantQuotas
from tests.contract.channel import Channel
from tests.contract.records import with_lease
from tests.harness import eventually

ONE, OTHER = "forebay:gateway:one", "forebay:gateway:other"
NO_RATE = Tokens(None)


def ask(
    ledger: BlockingLedger,
    gateway: str,
    limit: int,
    used: int,
    needed: int = 0,
    *,
    lease_s: float = 15.0,
) -> int:
    """The gateway's share of one limit."""
    asked = share("acme", gateway, NO_RATE, [Use(limit, used, needed)])
    if lease_s != 15.0:
        asked = with_lease(asked, lease_s)
    return ledger.run(asked).limits[0]


def test_a_gateway_gets_what_it_needs_and_a_reserve_that_leaves_room(
    ledger: BlockingLedger,
) -> None:
    assert ask(ledger, ONE, 100, 0, 1) == 1 + 99 // 2
    assert ask(ledger, OTHER, 100, 0, 1) == 1 + (100 - 50 - 1) // 3
    assert ask(ledger, OTHER, 100, 1, 49) == 50


def test_the_shares_never_exceed_the_limit(ledger: BlockingLedger) -> None:
    gateways = [f"forebay:gateway:{n}" for n in range(7)]
    shares = {gateway: ask(ledger, gateway, 20, 0, 5) for gateway in gateways}
    assert sum(shares.values()) <= 20
    for gateway in gateways:
        shares[gateway] = ask(ledger, gateway, 20, min(5, shares[gateway]), 3)
        assert sum(shares.values()) <= 20


def test_a_gateway_that_lacks_some_recalls_what_others_do_not_use(
    ledger: BlockingLedger,
) -> None:
    with Channel(ledger, "gateway") as channel:
        held = channel.name
        assert ask(ledger, held, 10, 0, 1) == 5
        assert ask(ledger, OTHER, 10, 0, 9) == 5
        assert list(map(parse_frame, channel.received())) == [("", Recall("acme"))]
        assert ask(ledger, held, 10, 1) == 1, "nothing is kept in reserve now"
        assert ask(ledger, OTHER, 10, 5, 4) == 9


def test_a_dead_gateway_leaves_no_counts_behind(ledger: BlockingLedger) -> None:
    assert ask(ledger, ONE, 10, 0, 10) == 10
    assert ask(ledger, OTHER, 10, 0, 1) == 0
    assert ask(ledger, ONE, 10, 10, lease_s=0.05) == 10
    eventually(lambda: ask(ledger, OTHER, 10, 0, 10) == 10, "the counts of the dead one lapse")


def test_a_gateway_that_uses_nothing_leaves_nothing_in_the_ledger(ledger: BlockingLedger) -> None:
    ask(ledger, ONE, 10, 0, 4)
    (name,) = ledger.redis.scan_iter("*quota*")
    assert any(pattern.matches(name.decode()) for pattern in KEYS)
    assert 0 < ledger.redis.pttl(name) <= 15_000
    assert ask(ledger, ONE, 10, 0) == 0
    assert not list(ledger.redis.scan_iter("*quota*"))


def test_a_bucket_gives_a_burst_and_then_the_rate(ledger: BlockingLedger) -> None:
    def tokens(needed: int, more: int = 0, returned: int = 0) -> Shares:
        asked = Tokens(1.0, 20.0, needed, more, returned)
        return ledger.run(share("acme", ONE, asked, [Use(None)]))

    assert tokens(15).tokens == 15
    assert tokens(15).tokens == 5
    empty = tokens(1)
    assert empty.tokens == 0
    assert 0 < empty.wait_s <= 1.0
    time.sleep(empty.wait_s + 0.01)
    assert tokens(1).tokens == 1
    assert tokens(0, returned=10).tokens == 0
    assert tokens(10).tokens == 10


def test_a_clock_that_went_back_takes_no_tokens_away(ledger: BlockingLedger) -> None:
    asked = share("acme", ONE, Tokens(1000.0, 20.0, 20), [Use(None)])
    assert ledger.run(asked).tokens == 20
    (name,) = ledger.redis.scan_iter("*quota*")
    in_a_day = int(time.time() * 1000) + 86_400_000
    ledger.redis.hset(name, "tokens", f"0.000000 {in_a_day}")
    answer = ledger.run(asked)
    assert (answer.tokens, answer.wait_s) == (0, 0.001)


@contextlib.asynccontextmanager
async def gateways(
    ledger: Ledger, url: str, limits: TenantSettings, count: int = 2
) -> AsyncIterator[list[TenantQuotas]]:
    """Gateways that hear each other's recalls."""
    made, listening = [], []
    for n in range(count):
        channel, subscribed = f"forebay:gateway:{n}", asyncio.Event()
        quotas = TenantQuotas({"acme": limits}, channel, ledger.run)
        made.append(quotas)
        heard = listen(
            url,
            [channel],
            on_frame=lambda frame, quotas=quotas: quotas.on_frame(*parse_frame(frame)),  # type: ignore[misc]
            on_subscribed=subscribed.set,
            on_broken=lambda: None,
        )
        listening.append(asyncio.create_task(heard))
        await subscribed.wait()
    try:
        yield made
    finally:
        await cancel_all(listening)
        await asyncio.gather(*(quotas.join() for quotas in made))


async def waited(wait: Wait) -> None:
    if wait is not None:
        await wait


async def enter(stack: contextlib.AsyncExitStack, quotas: TenantQuotas, size: int = 0) -> None:
    """Begins a call of acme, with a request of that size."""
    permit = stack.enter_context(Admission(10_000, 1 << 40).admit("acme"))
    counted = quotas.counted("acme", permit)
    await waited(stack.enter_context(counted))
    await waited(counted.count_new_call())
    if size:
        permit.take(size)
        await counted.check_bytes()


async def flood(
    stack: contextlib.AsyncExitStack, all_quotas: list[TenantQuotas], count: int, size: int = 0
) -> list[QuotaExceeded]:
    """Begins that many calls at once, at the gateways in turn; the errors of those refused."""

    async def one(n: int) -> QuotaExceeded | None:
        try:
            await enter(stack, all_quotas[n % len(all_quotas)], size)
        except QuotaExceeded as error:
            return error
        return None

    results = await asyncio.gather(*(one(n) for n in range(count)))
    return [error for error in results if error is not None]


async def test_calls_in_flight_are_counted_over_all_gateways(
    aio_ledger: Ledger, ledger_url: str
) -> None:
    async with (
        gateways(aio_ledger, ledger_url, TenantSettings(in_flight=20)) as both,
        contextlib.AsyncExitStack() as stack,
    ):
        refused = await flood(stack, both, 60)
        assert len(refused) >= 40, "never more than the limit"
        assert {error.quota for error in refused} == {"in_flight"}
        assert all(error.retry_after_s for error in refused)


async def test_all_of_a_limit_can_be_used_through_one_gateway(
    aio_ledger: Ledger, ledger_url: str
) -> None:
    async with gateways(aio_ledger, ledger_url, TenantSettings(in_flight=20)) as (one, _):
        async with contextlib.AsyncExitStack() as stack:
            assert len(await flood(stack, [one], 50)) == 30
        async with contextlib.AsyncExitStack() as stack:
            assert len(await flood(stack, [one], 20)) == 0


async def test_a_steady_load_asks_the_ledger_for_nothing(aio_ledger: Ledger) -> None:
    asked = 0

    async def run(operation: Operation[Shares]) -> Shares:
        nonlocal asked
        asked += 1
        return await aio_ledger.run(operation)

    quotas = TenantQuotas({"acme": TenantSettings(in_flight=100, held_bytes=1 << 30)}, ONE, run)
    for _ in range(200):
        async with contextlib.AsyncExitStack() as stack:
            await enter(stack, quotas, 100)
    assert asked <= 2


async def test_a_tenant_without_quotas_costs_the_ledger_nothing(aio_ledger: Ledger) -> None:
    async def run(operation: Operation[Shares]) -> Shares:
        raise AssertionError("nothing is to be asked")

    quotas = TenantQuotas({"acme": TenantSettings(weight=2)}, ONE, run)
    async with contextlib.AsyncExitStack() as stack:
        await enter(stack, quotas, 100)


async def test_calls_of_a_second_are_counted_over_all_gateways(
    aio_ledger: Ledger, ledger_url: str
) -> None:
    async with (
        gateways(aio_ledger, ledger_url, TenantSettings(per_second=10)) as both,
        contextlib.AsyncExitStack() as stack,
    ):
        began = time.monotonic()
        refused = await flood(stack, both, 40)
        passed = 40 - len(refused)
        assert 10 <= passed <= 10 + 10 * (time.monotonic() - began) + 2
        assert {error.quota for error in refused} == {"per_second"}
        assert all(0 < (error.retry_after_s or 0) < 1 for error in refused)


async def test_bytes_are_counted_over_all_gateways(aio_ledger: Ledger, ledger_url: str) -> None:
    async with (
        gateways(aio_ledger, ledger_url, TenantSettings(held_bytes=10 << 20)) as both,
        contextlib.AsyncExitStack() as stack,
    ):
        refused = await flood(stack, both, 30, size=1 << 20)
        assert 30 - len(refused) <= 9
        assert {error.quota for error in refused} == {"held_bytes"}


async def test_a_limit_of_two_is_never_refused_to_one_call_at_a_time_wherever_it_goes(
    aio_ledger: Ledger, ledger_url: str
) -> None:
    async with gateways(aio_ledger, ledger_url, TenantSettings(in_flight=2)) as (one, other):
        for quotas in (one, other, one, other):
            async with contextlib.AsyncExitStack() as stack:
                assert await flood(stack, [quotas], 2) == []


async def test_a_gateway_goes_on_with_its_part_while_the_ledger_is_away() -> None:
    async def away(operation: Operation[Shares]) -> Shares:
        raise BackendUnavailable("away")

    quotas = TenantQuotas({"acme": TenantSettings(in_flight=4, per_second=50)}, ONE, away)
    async with contextlib.AsyncExitStack() as stack:
        refused = await flood(stack, [quotas], 6)
        assert len(refused) == 2
        assert {error.quota for error in refused} == {"in_flight"}


@pytest.mark.parametrize("processes", [1, 2])
async def test_without_a_ledger_each_process_has_an_equal_part(processes: int) -> None:
    quotas = TenantQuotas({"*": TenantSettings(in_flight=4)}, "", None, processes)
    async with contextlib.AsyncExitStack() as stack:
        assert len(await flood(stack, [quotas], 10)) == 10 - 4 // processes
