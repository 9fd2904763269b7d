"""Runs a coroutine function periodically, in spite of errors and outages."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from math import inf

from forebay.errors import BackendUnavailable
from forebay.jitter import between
from forebay_backends.aio.auto_reset_event import AutoResetEvent
from forebay_backends.aio.outage_log import OutageLog

LONGEST_PAUSE = 1.2
"""The longest pause between runs, as a multiple of the interval."""


async def run_periodically(
    interval_s: float,
    act: Callable[[], Awaitable[float | None]],
    log: logging.Logger,
    name: str,
    *,
    retry_interval_s: float | None = None,
    wake: AutoResetEvent | None = None,
) -> None:
    """Runs `act` until cancelled: at once, then about every `interval_s`, with a jitter of 20 %.

    If `act` returns a number, the next run follows after exactly that many seconds. Setting `wake`
    starts the next run early. An error of `act` does not end the loop: the log
    reports it under `name`, and an outage of a backend only when it begins and when it is over.
    After a `BackendUnavailable` the next run follows in `retry_interval_s`, if that is given.
    """
    outage = OutageLog(log, f"{name} is interrupted", f"{name} resumes", repeat_s=inf)
    wake = wake or AutoResetEvent()
    while True:
        jitter = between(0.8, LONGEST_PAUSE)
        pause_s = interval_s * jitter
        try:
            next_in_s = await act()
        except BackendUnavailable as error:
            outage.failed(error)
            if retry_interval_s is not None:
                pause_s = retry_interval_s * jitter
        except Exception:  # a bug must not end the loop
            log.exception("%s failed; it is retried", name)
        else:
            outage.succeeded()
            if next_in_s is not None:
                pause_s = next_in_s
        await wake.wait(pause_s)
