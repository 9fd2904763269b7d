"""A gateway's view of the ledger's clock before and after its first health check."""

from __future__ import annotations

import asyncio

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.broker.base import make_broker
from forebay_backends.ledger.client import Ledger
from forebay_backends.settings import load_settings
from forebay_gateway.fleet import monitor as fleets
from forebay_gateway.fleet.monitor import FleetMonitor


@pytest.fixture
def fleet(aio_ledger: Ledger, ledger_url: str) -> FleetMonitor:
    backends = load_settings({"ledger_url": ledger_url}).backends()
    return FleetMonitor(aio_ledger, make_broker(backends, aio_ledger), [], 1 << 20)


async def test_a_call_that_comes_before_the_first_health_check_waits_for_the_clock(
    fleet: FleetMonitor, aio_ledger: Ledger
) -> None:
    waiting = asyncio.create_task(fleet.clock_known())
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await fleet.health.check()
    await waiting
    assert abs(fleet.ledger_time_ms(0.0) - await aio_ledger.now_ms()) < 1000


async def test_the_wait_for_the_clock_is_bounded(
    fleet: FleetMonitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleets, "_CLOCK_TIMEOUT_S", 0.05)
    with pytest.raises(BackendUnavailable) as caught:
        await fleet.clock_known()
    assert caught.value.retry_after_s
