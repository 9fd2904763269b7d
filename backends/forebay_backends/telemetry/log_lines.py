"""The lines of the log, as text or as JSON, with the call, attempt and trace that each belongs to.

A factory adds the labels to every `LogRecord`, including those of handlers and libraries, so any
formatter can use them: `%(forebay_call_id)s`, `%(forebay_attempt)s`, `%(forebay_method)s`,
`%(forebay_tenant)s`, `%(forebay_trace_id)s`, `%(forebay_span_id)s`. The prefix avoids conflicts
with a program's `extra`: `logging` raises KeyError for a name that the record already has.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from forebay_backends.telemetry.call_labels import call_of_task, current_call, latest_call

_LABELS = ("call_id", "attempt", "method", "tenant", "trace_id", "span_id")
_PREFIX = "forebay_"
_installed: Callable[..., logging.LogRecord] | None = None


def label_log_records() -> None:
    """Adds the labels of the current call to all records of this process from now on."""
    global _installed
    make_record = logging.getLogRecordFactory()
    if make_record is _installed:
        return

    def make_labelled_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make_record(*args, **kwargs)
        call, latest = current_call(), latest_call()
        task_id = _task_id_of(record)
        is_same = task_id is not None and call_of_task(task_id)[1] == latest.call_id
        if is_same and call.attempt in (0, latest.attempt):
            call = latest  # Celery logs the end of a task after our block for the call was left
        fields = record.__dict__
        fields["forebay_call_id"] = call.call_id
        fields["forebay_attempt"] = call.attempt or ""
        fields["forebay_method"] = call.method
        fields["forebay_tenant"] = call.tenant
        fields["forebay_trace_id"] = call.trace_id
        fields["forebay_span_id"] = call.span_id
        return record

    _installed = make_labelled_record
    logging.setLogRecordFactory(make_labelled_record)


class TextLines(logging.Formatter):
    """Lines of another formatter, with the known labels of the call in brackets.

    For example, `… WARNING shop.orders: no stock [call=01HX attempt=1 method=shop.Orders.Place]`.
    A traceback follows on the next lines.
    """

    def __init__(self, inner: logging.Formatter) -> None:
        super().__init__()
        self._inner = inner

    def format(self, record: logging.LogRecord) -> str:
        labels = _labels_of(record)
        text = self._inner.format(record)
        if not labels:
            return text
        names = {"call_id": "call", "trace_id": "trace", "span_id": "span"}
        words = " ".join(f"{names.get(name, name)}={value}" for name, value in labels.items())
        line, newline, rest = text.partition("\n")
        return f"{line} [{words}]{newline}{rest}"


class JsonLines(logging.Formatter):
    """One JSON object a line. `process` names this process; if empty, `logging`'s name is used."""

    def __init__(self, process: str = "") -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_labels_of(record),
            "process": self._process or record.processName,
            "pid": record.process,
        }
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["exception"] = record.exc_text
        if record.stack_info:
            line["stack"] = self.formatStack(record.stack_info)
        return json.dumps(line, ensure_ascii=False)


def _task_id_of(record: logging.LogRecord) -> str | None:
    """The id of the task that a line of Celery's is about."""
    task_id = record.args.get("id") if isinstance(record.args, dict) else None
    return task_id if isinstance(task_id, str) else None


def _labels_of(record: logging.LogRecord) -> dict[str, Any]:
    """The known labels; for Celery's own lines, which have none, the task's id."""
    fields = record.__dict__
    found = {name: fields[_PREFIX + name] for name in _LABELS if fields.get(_PREFIX + name)}
    task = fields.get("data")  # `celery.app.trace` and `celery.worker.strategy` set it
    if not found and isinstance(task, dict) and task.get("id"):
        return {"task_id": task["id"]}
    return found
