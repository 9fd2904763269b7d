"""Celery's report that a worker often connects again."""

from __future__ import annotations

import logging

import pytest
from billiard.common import restart_state
from billiard.exceptions import RestartFreqExceeded

from forebay_workers.celery_hooks.frequent_restarts import FrequentRestarts


@pytest.mark.parametrize("shown", [False, True])
def test_only_this_report_has_no_traceback(caplog: pytest.LogCaptureFixture, shown: bool) -> None:
    logger, restarts = logging.getLogger("tests.restarts"), restart_state(maxR=1, maxT=60)
    logger.addFilter(FrequentRestarts())
    try:
        restarts.step()
        if shown:
            raise ValueError("another error")
        restarts.step()
    except (RestartFreqExceeded, ValueError):
        logger.exception("Frequent restarts detected")
    assert "Frequent restarts detected" in caplog.text
    assert ("Traceback" in caplog.text) == shown
