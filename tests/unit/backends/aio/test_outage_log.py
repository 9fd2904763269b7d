"""An outage is logged when it begins, every 30 s, and when it is over."""

from __future__ import annotations

import asyncio
import logging

import pytest

from forebay_backends.aio.outage_log import OnceInAWhile, OutageLog, RepeatFilter

LOG = logging.getLogger("tests.outage")


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_outage_of_40_s_takes_three_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = Clock()
    outage = OutageLog(LOG, "the broker does not answer", "the broker answers again", clock)
    outage.succeeded()
    for _ in range(200):
        outage.failed(ConnectionError("refused"))
        clock.now += 0.2
    outage.succeeded()
    outage.succeeded()
    assert caplog.messages == [
        "the broker does not answer: ConnectionError('refused')",
        "the broker does not answer, for 30 s now: ConnectionError('refused')",
        "the broker answers again, after 40 s",
    ]


def test_a_librarys_repeated_warnings_pass_once_in_30_s_and_others_pass() -> None:
    clock = Clock()
    repeats = RepeatFilter(clock)

    def passes(level: int, message: str, *arguments: object) -> bool:
        return repeats.filter(
            logging.LogRecord("kombu", level, __file__, 1, message, arguments, None)
        )

    assert passes(logging.ERROR, "Cannot connect: %s", 1)
    assert not passes(logging.ERROR, "Cannot connect: %s", 2)
    assert passes(logging.ERROR, "Something else")
    assert passes(logging.INFO, "Connected")
    assert passes(logging.INFO, "Connected")
    clock.now += 30.0
    assert passes(logging.ERROR, "Cannot connect: %s", 3)
    assert not passes(logging.ERROR, "Cannot connect: %s", 4)


async def test_a_timeout_is_named_as_one(caplog: pytest.LogCaptureFixture) -> None:
    outage = OutageLog(LOG, "the broker does not answer", "the broker answers again")
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(1)
    except TimeoutError as error:
        outage.failed(error)
    assert caplog.messages == ["the broker does not answer: TimeoutError()"]


def test_each_key_is_logged_once_a_minute() -> None:
    clock = Clock()
    warnings = OnceInAWhile(clock)
    assert [warnings.passes(key) for key in ("a", "b", "a")] == [True, True, False]
    clock.now += 59.0
    assert not warnings.passes("a")
    clock.now += 2.0
    assert warnings.passes("b")
    assert len(warnings._at) == 1
