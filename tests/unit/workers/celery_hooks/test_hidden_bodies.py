"""The bodies of messages in Celery's log."""

from __future__ import annotations

import logging

import pytest
from celery.concurrency.base import BasePool
from celery.worker.consumer import consumer

from forebay_workers.celery_hooks.hidden_bodies import HiddenBodies

BODY = "{'batch': 'a request'} (22b)"


@pytest.mark.parametrize(
    "args",
    [
        (consumer.UNKNOWN_FORMAT, f"body: {BODY}"),
        (consumer.UNKNOWN_TASK_ERROR, "'orders.place'", BODY, {"id": "a"}, {}),
        (consumer.INVALID_TASK_ERROR, "no id", BODY),
        (consumer.MESSAGE_DECODE_ERROR, "error", "json", "utf-8", "{}", BODY),
    ],
    ids=["format", "task", "invalid", "encoding"],
)
def test_celery_logs_no_body_of_a_message(args: tuple[object, ...]) -> None:
    record = logging.LogRecord("celery", logging.ERROR, "f.py", 1, str(args[0]), args[1:], None)
    assert BODY in record.getMessage()
    assert HiddenBodies().filter(record)
    assert "a request" not in record.getMessage()
    assert "(not shown)" in record.getMessage()


def test_a_pool_logs_no_body_of_a_message(caplog: pytest.LogCaptureFixture) -> None:
    """Celery's own call, because its text is not a constant."""
    pool = BasePool(1)
    pool._does_debug, pool.on_apply = True, lambda *_, **__: None
    logger, hidden = logging.getLogger("celery.pool"), HiddenBodies()
    logger.addFilter(hidden)
    try:
        with caplog.at_level(logging.DEBUG, "celery.pool"):
            pool.apply_async(print, (BODY,))
    finally:
        logger.removeFilter(hidden)
    assert "TaskPool: Apply" in caplog.text
    assert "a request" not in caplog.text


def test_any_other_line_is_as_it_was() -> None:
    record = logging.LogRecord("celery", logging.INFO, "f.py", 1, "%s %s", ("a", "b"), None)
    assert HiddenBodies().filter(record)
    assert record.getMessage() == "a b"
