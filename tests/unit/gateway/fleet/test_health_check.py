"""Backends are probed, changes are reported once, and the log reports outages once."""

from __future__ import annotations

import asyncio
import logging

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.aio.cancellation import cancel_all
from forebay_gateway.fleet import health_check
from forebay_gateway.fleet.health_check import HealthCheck


class Backend:
    """A backend whose next answers are set by the test."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.is_silent = False

    async def probe(self) -> None:
        if self.is_silent:
            await asyncio.get_running_loop().create_future()
        if self.error is not None:
            raise self.error


@pytest.fixture
def broker() -> Backend:
    return Backend()


@pytest.fixture
def ledger() -> Backend:
    return Backend()


@pytest.fixture
def health(broker: Backend, ledger: Backend) -> HealthCheck:
    return HealthCheck({"broker": broker.probe, "ledger": ledger.probe})


async def test_all_backends_are_unhealthy_before_the_first_check(health: HealthCheck) -> None:
    assert not health.is_healthy
    await health.check()
    assert health.is_healthy


@pytest.mark.parametrize("error", [BackendUnavailable("away"), ValueError("a bug")])
async def test_one_backend_that_fails_makes_the_whole_unhealthy(
    health: HealthCheck, broker: Backend, error: Exception
) -> None:
    broker.error = error
    await health.check()
    assert (health.answers("broker"), health.answers("ledger")) == (False, True)
    assert not health.is_healthy


async def test_a_backend_that_does_not_answer_in_time_is_unhealthy(
    health: HealthCheck, ledger: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_check, "HEALTH_TIMEOUT_S", 0.01)
    ledger.is_silent = True
    await health.check()
    assert (health.answers("broker"), health.answers("ledger")) == (True, False)


async def test_backends_with_the_same_probe_are_probed_once(broker: Backend) -> None:
    probed = []

    async def probe() -> None:
        probed.append(1)
        await broker.probe()

    health = HealthCheck({"broker": probe, "ledger": probe})
    for error in (None, BackendUnavailable("away")):
        broker.error = error
        await health.check()
        answers = (health.answers("broker"), health.answers("ledger"))
        assert answers == (error is None, error is None)
    assert len(probed) == 2


async def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(
    health: HealthCheck, broker: Backend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, health_check.__name__)
    for error in (None, BackendUnavailable("away"), BackendUnavailable("away"), None, None):
        broker.error = error
        await health.check()
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "the broker does not answer: BackendUnavailable('away')"),
        ("INFO", "the broker answers again, after 0 s"),
    ]


async def test_health_is_reported_at_first_and_when_it_changes(
    health: HealthCheck, broker: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_check, "HEALTH_CHECK_INTERVAL_S", 0.0)
    reports: asyncio.Queue[bool] = asyncio.Queue()
    running = asyncio.create_task(health.run(reports.put))
    try:
        async with asyncio.timeout(5.0):
            assert await reports.get()
            broker.error = BackendUnavailable("away")
            assert not await reports.get()
            broker.error = None
            assert await reports.get()
        assert reports.empty()
    finally:
        await cancel_all([running])
