"""A periodic loop survives errors and outages; the log reports an outage once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from forebay.errors import BackendUnavailable
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.periodic import run_periodically

_LOG = logging.getLogger("tests.rounds")


class _Over(BaseException):
    """Ends the loop of a test."""


_Outcome = BaseException | float | None


def _acts(*outcomes: _Outcome) -> Callable[[], asyncio.Future[float | None]]:
    left = iter((*outcomes, _Over()))

    def act() -> asyncio.Future[float | None]:
        done: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        outcome = next(left)
        if isinstance(outcome, BaseException):
            done.set_exception(outcome)
        else:
            done.set_result(outcome)
        return done

    return act


def _rounds(*outcomes: _Outcome) -> None:
    async def go() -> None:
        await run_periodically(0.0, _acts(*outcomes), _LOG, "the repair")

    with pytest.raises(_Over):
        asyncio.run(go())


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outage = BackendUnavailable("the ledger is full", retry_after_s=1.0)
    with caplog.at_level(logging.INFO, _LOG.name):
        _rounds(None, outage, outage, None, None, outage)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "WARNING"]
    assert caplog.messages[0].startswith("the repair is interrupted: ")
    assert "the ledger is full" in caplog.messages[0]
    assert caplog.messages[1] == "the repair resumes, after 0 s"


def test_an_error_is_logged_with_its_traceback_and_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _rounds(ValueError("one"), None, ValueError("two"))
    assert [str(record.exc_info and record.exc_info[1]) for record in caplog.records] == [
        "one",
        "two",
    ]


def _second_run(first: _Outcome, **options: float | AutoResetEvent) -> None:
    """Returns when the loop has run twice, though its interval is an hour."""

    async def go() -> None:
        async with asyncio.timeout(5.0):
            await run_periodically(3600.0, _acts(first), _LOG, "the repair", **options)  # type: ignore[arg-type]

    with pytest.raises(_Over):
        asyncio.run(go())


def test_an_event_starts_the_next_run_early() -> None:
    wake = AutoResetEvent()
    wake.set()
    _second_run(None, wake=wake)


def test_after_an_outage_the_next_run_follows_in_the_retry_interval() -> None:
    _second_run(BackendUnavailable("down", retry_after_s=1.0), retry_interval_s=0.0)


def test_an_act_may_say_when_the_next_run_follows() -> None:
    _second_run(0.0)
