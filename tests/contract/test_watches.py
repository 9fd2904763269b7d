"""Watches: a gateway loses no event of its calls, not even during the accept."""

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
    """The watches of a gateway that is subscribed."""
    watches = Watches(aio_ledger, ledger_url, CHANNEL)
    loops = [asyncio.create_task(loop) for loop in (watches.listen(), watches.renew_periodically())]
    await watches.subscribed()
    yield watches
    await cancel_all(loops)


@asynccontextmanager
async def before_the_next_renewal() -> AsyncIterator[None]:
    """Fails if the block takes until the periodic renewal of all watches."""
    async with asyncio.timeout(LEASE_CHECK_INTERVAL_S * 0.6):
        yield


async def test_an_ending_that_arrives_before_the_reply_to_the_accept_is_received(
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


async def test_an_event_lost_while_the_accept_is_in_flight_causes_a_renewal_at_once(
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
            renewed = partial(eventually, lambda: watches.subscription > before, "it resubscribes")
            await asyncio.to_thread(renewed)
            watches.on_registered(watch)
            snapshot = None
            while snapshot is None:
                await watch.wait()
                snapshot = watch.take_snapshot()
    assert watches.is_confirmed(watch)


async def test_an_upload_that_waits_is_notified_when_the_handler_has_read_its_requests(
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


async def test_a_failed_upload_wakes_the_rpc_at_once() -> None:
    watch = Watch(new_key(), ItemSequence())
    watch.raise_if_upload_failed()
    watch.on_upload_failed(Draining("the gateway is shutting down"))
    async with before_the_next_renewal():
        await watch.wait()
    with pytest.raises(Draining):
        watch.raise_if_upload_failed()
