"""Error messages for invalid settings, a line each, which show no part of any password."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from forebay_backends.settings.values import CONTENT_OF_FILE
from forebay_backends.urls import redacted

_URLS = ("ledger_url", "broker_url", "result_url")
_APPLICATIONS = "applications"
_EXAMPLES = {
    "exceptions": '[{"type": "mypkg.errors.NotFound", "status": "NOT_FOUND"}]',
    "services": '["mypkg.my_pb2"]',
    _APPLICATIONS: '{"shop": {"broker_url": "redis://shop.internal/0"}}',
    "checks": '{"mypkg.MyService.Method": {"option": 1}}',
    "tls": '{"certificate": "tls.crt", "key": "tls.key"}',
    "auth": '{"keys": [{"file": "keys.toml"}]}',
    "roles": '{"caller": ["mypkg.MyService.*"]}',
    "tenants": '{"acme": {"in_flight": 500}}',
}

_EXPECTED = {"missing": "it is required", "model_type": "expected a table"}
_TABLE_OF_AN_APPLICATION = 'expected a table, such as {broker_url = "redis://shop.internal/0"}'
_OF_THE_KEY = "[key]"
"""The last part of `loc` in pydantic's errors about a key, such as an application's name."""


class SettingsError(ValueError):
    """Invalid settings; the message has a line for each."""


def problem_line(problem: Any, fields: Mapping[str, FieldInfo]) -> str:
    """The line for one of pydantic's errors; `fields` are all settings."""
    *place, last = (part for part in problem["loc"] if part != _OF_THE_KEY)
    name = ".".join(str(part) for part in (*place, last))
    if problem["type"] == "extra_forbidden":
        known = _table_at(place, fields)
        return f"{name}: no such setting; expected one of " + ", ".join(sorted(known))
    is_shown = problem["type"] not in ("missing", CONTENT_OF_FILE) and _may_be_shown(place, last)
    value = f" = {redacted(repr(problem['input']))}" if is_shown else ""
    expected = _EXPECTED.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "model_type" and place[:1] == [_APPLICATIONS]:
        expected = _TABLE_OF_AN_APPLICATION
    return f"{name}{value}: {expected}"


def json_expected(variable: str, value: str, field: str) -> str:
    """The line for a variable with invalid JSON; pydantic's message names only the field."""
    shown = "" if field == _APPLICATIONS else f" = {redacted(value)!r}"
    return f"{variable}{shown}: expected JSON, such as {_EXAMPLES[field]}"


def _may_be_shown(place: Sequence[object], last: object) -> bool:
    """Whether the line may show the value; for a URL, the error's own message shows the scheme."""
    if last in _URLS:
        return False
    # An application's table contains URLs, and so may an invalid value in its place.
    return last != _APPLICATIONS and place != [_APPLICATIONS]


def _table_at(place: Sequence[object], fields: Mapping[str, FieldInfo]) -> Mapping[str, FieldInfo]:
    """The fields of the table at a `loc`, such as `auth`, `jwt`, `0`."""
    for part in place:
        field = fields.get(part) if isinstance(part, str) else None
        table = None if field is None else _table_in(field.annotation)
        fields = fields if table is None else table.model_fields
    return fields


def _table_in(annotation: Any) -> type[BaseModel] | None:
    """The model in a type such as `tuple[JwtSettings, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(filter(None, map(_table_in, get_args(annotation))), None)
