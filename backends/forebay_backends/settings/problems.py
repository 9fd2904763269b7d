"""The lines that describe refused settings. None shows any part of a password."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from forebay_backends.settings.applications import ApplicationSettings
from forebay_backends.urls import redacted

_URLS = ("ledger_url", "broker_url", "result_url")
_APPLICATIONS = "applications"
_EXAMPLES = {
    "exceptions": '[{"type": "mypkg.errors.NotFound", "status": "NOT_FOUND"}]',
    "services": '["mypkg.my_pb2"]',
    _APPLICATIONS: '{"shop": {"broker_url": "redis://shop.internal/0"}}',
    "checks": '{"mypkg.MyService.Method": {"option": 1}}',
}

_EXPECTED = {
    "missing": "it is required",
    "model_type": 'expected a table, such as {broker_url = "redis://shop.internal/0"}',
}


class SettingsError(ValueError):
    """Invalid settings; the message has a line for each."""


def problem_line(problem: Any, fields: Collection[str]) -> str:
    """The line for one of pydantic's errors; `fields` are the settings that there are."""
    *place, last = problem["loc"]
    name = ".".join(str(part) for part in (*place, last))
    if problem["type"] == "extra_forbidden":
        known = ApplicationSettings.model_fields if place[:1] == [_APPLICATIONS] else fields
        return f"{name}: no such setting; expected one of " + ", ".join(sorted(known))
    value = f" = {redacted(repr(problem['input']))}" if _may_be_shown(place, last) else ""
    expected = _EXPECTED.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return f"{name}{value}: {expected}"


def json_expected(variable: str, value: str, field: str) -> str:
    """The line for a variable that was to hold JSON; pydantic's names the field only."""
    shown = "" if field == _APPLICATIONS else f" = {redacted(value)!r}"
    return f"{variable}{shown}: expected JSON, such as {_EXAMPLES[field]}"


def _may_be_shown(place: Sequence[object], last: object) -> bool:
    """Whether the value has no password: of a URL, the message shows as much as it may."""
    if last in _URLS:
        return False
    # An application's table has URLs, and so may have whatever is in its place.
    return last != _APPLICATIONS and place != [_APPLICATIONS]
