"""Lines of the log as text and as JSON."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from forebay_backends.telemetry.call_labels import CallLabels, about_call, label_task, name_call
from forebay_backends.telemetry.log_lines import JsonLines, TextLines, label_log_records

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TEXT = TextLines(logging.Formatter("%(levelname)s %(name)s: %(message)s"))


@pytest.fixture(autouse=True)
def factory() -> Iterator[None]:
    """Restores the process's own factory of records."""
    before = logging.getLogRecordFactory()
    label_log_records()
    label_log_records()  # a second time changes nothing
    yield
    logging.setLogRecordFactory(before)


def record(message: str = "no stock", **options: object) -> logging.LogRecord:
    logger = logging.getLogger("shop.orders")
    extra = options.pop("extra", None)
    return logger.makeRecord(
        "shop.orders", logging.WARNING, "f.py", 1, message, (), options.get("exc_info"), extra=extra
    )


def test_a_line_of_text_names_its_call_in_brackets() -> None:
    with about_call("a", 2, "shop.Orders.Place", TRACEPARENT):
        made = record()
    assert TEXT.format(made) == (
        "WARNING shop.orders: no stock [call=a attempt=2 method=shop.Orders.Place "
        "trace=4bf92f3577b34da6a3ce929d0e0e4736 span=00f067aa0ba902b7]"
    )


def test_a_line_names_the_tenant_whose_call_it_is_about() -> None:
    with about_call("a", 1, "shop.Orders.Place", tenant="acme"):
        made = record()
    assert TEXT.format(made).endswith("[call=a attempt=1 method=shop.Orders.Place tenant=acme]")
    assert json.loads(JsonLines().format(made))["tenant"] == "acme"


def test_a_line_without_a_call_is_as_it_was() -> None:
    assert TEXT.format(record()) == "WARNING shop.orders: no stock"
    assert (
        not {"call_id", "tenant", "trace_id", "task_id"}
        & json.loads(JsonLines().format(record())).keys()
    )


def test_a_traceback_follows_the_brackets() -> None:
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        with about_call("a", 1):
            made = record(exc_info=sys.exc_info())
    first, *rest = TEXT.format(made).splitlines()
    assert first.endswith("no stock [call=a attempt=1]")
    assert rest[-1] == "RuntimeError: boom"
    assert "\n" not in JsonLines().format(made)
    assert json.loads(JsonLines().format(made))["exception"].endswith("RuntimeError: boom")


def test_a_line_of_json_is_one_object() -> None:
    with about_call("a", 1, "shop.Orders.Place", TRACEPARENT):
        made = record("two\nlines, ☃")
    made.created = 1_795_867_610.1234
    line = JsonLines("gateway 2").format(made)
    assert "\n" not in line
    assert json.loads(line) == {
        "time": "2026-11-28T12:06:50.123Z",
        "level": "WARNING",
        "logger": "shop.orders",
        "message": "two\nlines, ☃",
        "call_id": "a",
        "attempt": 1,
        "method": "shop.Orders.Place",
        "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        "span_id": "00f067aa0ba902b7",
        "process": "gateway 2",
        "pid": made.process,
    }


def test_a_programs_own_fields_do_not_meet_the_labels() -> None:
    with about_call("a", 1, "shop.Orders.Place"):
        made = record(extra={"call_id": "mine", "method": "mine", "trace_id": "mine"})
    assert json.loads(JsonLines().format(made))["call_id"] == "a"
    assert made.__dict__["call_id"] == "mine"


def test_celerys_own_lines_name_their_task() -> None:
    made = record(extra={"data": {"id": "a", "name": "orders.place"}})
    assert json.loads(JsonLines().format(made))["task_id"] == "a"


def test_any_formatter_can_use_the_labels() -> None:
    formatter = logging.Formatter("%(forebay_call_id)s/%(forebay_attempt)s: %(message)s")
    assert formatter.format(record()) == "/: no stock"
    with about_call("a", 3):
        assert formatter.format(record()) == "a/3: no stock"


async def test_a_tasks_labels_are_filled_in_as_they_become_known() -> None:
    label_task(CallLabels("shop.Orders.Place"))
    assert TEXT.format(record()).endswith("[method=shop.Orders.Place]")
    name_call("a")
    assert TEXT.format(record()).endswith("[call=a attempt=1 method=shop.Orders.Place]")


def test_naming_a_call_outside_of_one_labels_nothing() -> None:
    name_call("a")
    assert TEXT.format(record()) == "WARNING shop.orders: no stock"


def of_task(task_id: str) -> logging.LogRecord:
    """A line of Celery's about a task."""
    logger, about = logging.getLogger("celery.app.trace"), {"id": task_id}
    return logger.makeRecord(
        "celery", logging.INFO, "f.py", 1, "Task %(id)s succeeded", (about,), None
    )


def test_celerys_line_about_the_task_of_the_latest_call_has_its_labels() -> None:
    with about_call("a", 2, traceparent=TRACEPARENT, tenant="acme"):
        pass
    assert json.loads(JsonLines().format(of_task("acme/a#2")))["attempt"] == 2
    with about_call("a", 2):  # which does not know the trace
        made = of_task("acme/a#2")
    assert json.loads(JsonLines().format(made))["trace_id"] == TRACEPARENT[3:35]


def test_celerys_line_about_another_task_or_attempt_has_not() -> None:
    with about_call("a", 2, traceparent=TRACEPARENT):
        pass
    assert "call_id" not in json.loads(JsonLines().format(of_task("b")))
    with about_call("a", 3):
        made = of_task("a#3")
    shown = json.loads(JsonLines().format(made))
    assert (shown["attempt"], shown.get("trace_id")) == (3, None)
