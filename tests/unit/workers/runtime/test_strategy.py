"""The arrival of a message in a worker's main process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery

from forebay_backends.telemetry.log_lines import label_log_records
from forebay_workers.celery_hooks.request import CallRequest
from forebay_workers.runtime.strategy import strategy


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    """Labels the records of the test."""
    before = logging.getLogRecordFactory()
    label_log_records()
    yield
    logging.setLogRecordFactory(before)


def pack(**_: object) -> None:
    """A task."""


@pytest.fixture
def handle() -> Any:
    """The function that handles a task's messages in a worker."""
    app = Celery("shop", broker="memory://", set_as_current=False)
    task = app.task(pack, name="shop.pack", Request=CallRequest)
    worker = app.WorkController(pool="solo", without_mingle=True, without_gossip=True)
    return strategy(task, app, worker.consumer)


@pytest.mark.parametrize(
    ("task_id", "call_id", "tenant"),
    [("acme/a#2", "a", "acme"), ("a", "a", ""), (None, "", "")],
)
def test_the_line_about_a_message_that_is_not_forebays_names_the_call_that_it_claims(
    handle: Any,
    caplog: pytest.LogCaptureFixture,
    task_id: str | None,
    call_id: str,
    tenant: str,
) -> None:
    acks: list[object] = []
    message = SimpleNamespace(
        headers={"id": task_id}, payload=[[], {"call": "no key", "attempt": 1}, {}]
    )
    with caplog.at_level(logging.INFO):
        handle(message, None, lambda *args: acks.append(args), None, [])
    (line,) = caplog.records
    assert (
        line.getMessage()
        == f"call {task_id} is not begun: its message is not Forebay's: ValueError"
    )
    fields = line.__dict__
    assert (fields["forebay_call_id"], fields["forebay_tenant"]) == (call_id, tenant)
    assert len(acks) == 1
