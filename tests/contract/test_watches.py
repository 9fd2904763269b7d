"""What a gateway hears of the calls that it watches, from the first moment on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from forebay.errors import Draining
from forebay_backends.aio.cancellation import cancel_all
from forebay_backends.ledger.blocking_client import BlockingLedger
from forebay_backends.ledger.client import Ledger
from forebay_backends.ledger.keys import gateway_channel
from forebay_backends.ledger.lifecycle import Event
from forebay_backends.ledger.operations.attempts import finish
from forebay_backends.ledger.operations.base import Refusal, Refused
from forebay_backends.ledger.operations.requests import receive, take_requests
from forebay_gateway.durable.item_sequence import Done, ItemSequence, Send
from forebay_gateway.durable.watch import Watch
from forebay_gateway.durable.watches import LEASE_CHECK_INTERVAL_S, Watches
from tests.contract.records import new_key, running
from tests.harness import eventually

CHANNEL = gateway_channel("test")


@pytest.fixture
async def watches(aio_ledger: Ledger, ledger_url: str) -> AsyncIterator[Watches]:
    """A gateway's, which hears."""
    hearing = Watches(aio_ledger, ledger_url, CHANNEL)
    loops = [asyncio.create_task(loop) for loop in (hearing.listen(), hearing.renew_periodically())]
    await hearing.subscribed()
    yield hearing
    await cancel_all(loops)


@asynccontextmanager
async def before_the_next_renewal() -> AsyncIterator[None]:
    """Fails where the block waits for the periodic renewal of all watches."""
    async with asyncio.timeout(LEASE_CHECK_INTERVAL_S * 0.6):
        yield


async def test_a_call_that_ends_before_its_accept_is_answered_is_heard_of(
    ledger: BlockingLedger, watches: Watches
) -> None:
    call = new_key()
    watch = Watch(call, ItemSequence())
    with watches.open(watch):
        watches.on_registering(watch)
        record = running(ledger, CHANNEL, call=call)
        ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"outcome", b"response"))
        async with before_the_next_renewal():
            while watch.items.ending is None:
                await watch.wait()
        watches.on_registered(watch)
    assert watch.items.next_action() == Send(b"response")
    assert isinstance(watch.items.next_action(), Done)


async def test_what_is_lost_between_a_question_and_its_answer_is_asked_for_at_once(
    ledger: BlockingLedger, watches: Watches
) -> None:
    call = new_key()
    watch = Watch(call, ItemSequence())
    with watches.open(watch):
        watches.on_registering(watch)
        before = watches.subscription
        ledger.redis.client_kill_filter(_type="pubsub")
        record = running(ledger, CHANNEL, call=call)
        ledger.run(finish(record.call, 1, Event.SUCCEED, "", b"outcome", b"response"))
        async with before_the_next_renewal():
            renewed = partial(eventually, lambda: watches.subscription > before, "it hears again")
            await asyncio.to_thread(renewed)
            watches.on_registered(watch)
            snapshot = None
            while snapshot is None:
                await watch.wait()
                snapshot = watch.take_snapshot()
    assert watches.is_confirmed(watch)


async def test_who_has_more_requests_hears_when_the_handler_has_read_what_it_had(
    ledger: BlockingLedger, watches: Watches
) -> None:
    call = new_key()
    watch = Watch(call, ItemSequence())
    with watches.open(watch):
        record = running(ledger, CHANNEL, call=call, live=True, window_bytes=10)
        ledger.run(receive(record.call, 0, b"x" * 10, 100))
        assert ledger.run(receive(record.call, 1, b"y", 100)) == Refused(Refusal.FULL)
        ledger.run(take_requests(record.call, 1, 1, 10))
        async with before_the_next_renewal():
            await watch.request_window_open.wait()


async def test_who_delivers_is_told_at_once_that_no_more_requests_can_be_received() -> None:
    watch = Watch(new_key(), ItemSequence())
    watch.raise_if_upload_failed()
    watch.on_upload_failed(Draining("the gateway is shutting down"))
    async with before_the_next_renewal():
        await watch.wait()
    with pytest.raises(Draining):
        watch.raise_if_upload_failed()
