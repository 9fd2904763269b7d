"""The lines that describe refused settings. None shows any part of a password."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from forebay_backends.urls import redacted

_URLS = ("ledger_url", "broker_url", "result_url")
_EXAMPLES = {
    "exceptions": '[{"type": "mypkg.errors.NotFound", "status": "NOT_FOUND"}]',
    "services": '["mypkg.my_pb2"]',
    "checks": '{"mypkg.MyService.Method": {"option": 1}}',
}


class SettingsError(ValueError):
    """Invalid settings; the message has a line for each."""


def problem_line(problem: Any, fields: Collection[str]) -> str:
    """The line for one of pydantic's errors."""
    name = ".".join(str(part) for part in problem["loc"])
    value = f" = {redacted(repr(problem['input']))}"
    if problem["type"] == "extra_forbidden":
        value = ""  # a password, perhaps
        expected = "no such setting; expected one of " + ", ".join(sorted(fields))
    else:
        expected = problem["msg"].removeprefix("Value error, ")
    if name in _URLS:
        value = ""  # the message has as much of it as may be shown
    return f"{name}{value}: {expected}"


def json_expected(variable: str, value: str, field: str) -> str:
    """The line for a variable that was to hold JSON; pydantic's names the field only."""
    return f"{variable} = {redacted(value)!r}: expected JSON, such as {_EXAMPLES[field]}"
